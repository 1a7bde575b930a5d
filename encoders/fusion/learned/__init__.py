"""What the fusions share that `vitrine train fusion` makes: folder, inputs, and how vectors become items."""
