"""Long computations in pieces: by processes of this machine or by Ray, each finished piece kept."""
