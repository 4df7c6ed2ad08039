"""Networks for images: residual networks of ours and of torchvision, cut into stages, with the weights that ship."""
