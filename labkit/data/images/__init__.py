"""Images: how they become batches.

`sources` lists them, `decode` decodes one and `store` all of them, once; `sniff` tells what an odd file is. `dataset`
has the splits that give batches, `augment` changes images anew in each epoch, `shift` makes them look otherwise on
purpose.
"""
