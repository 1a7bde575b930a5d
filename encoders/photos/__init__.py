"""From the bytes of a photo to pixels, whatever bytes come: limits, work told beforehand, decoding that can be
stopped.
"""
