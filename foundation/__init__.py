"""What every package stands on: errors, identity, names of types, durable writes, array types, metrics. Imports
nothing of ours.
"""
