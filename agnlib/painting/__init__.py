"""One picture being painted: windows, tiles, regions, effects, and the frames of a clip."""
