"""From sources to what people open: notebooks, the reading edition, the cell for Colab, links and the glossary."""
