"""What the encoders made of networks share: model folders, devices, batches of tokens, pixels."""
