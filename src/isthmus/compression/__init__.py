"""Samples as bytes and back: what the Compressor is made of, in the order of need.

`symbols` says what is coded, `exact` and `near` how, `stack` holds the bits, and `container` the file.
"""
