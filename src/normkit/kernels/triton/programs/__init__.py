"""What runs on the device: Triton programs on tiles of rows.

A tile is [ROWS, BLOCK]; its columns are `tl.arange(0, BLOCK)`, those from the row's width on are masked. Widths and row
strides come as multiples of a constant ALIGN: the compiler then knows by what power of two every address can be divided
and reads 16 bytes at a time wherever the tensor's shape allows it, not only where a width is a multiple of 16.
"""
