"""Images and targets: procedural rooms, and how stored targets become what losses and metrics compare."""
