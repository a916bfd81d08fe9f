"""The operations of the model as a CPU or a GPU likes them, each equal to its formula."""
