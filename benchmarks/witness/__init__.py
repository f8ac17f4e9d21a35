"""Outside witnesses: what other people wrote of the same recurrences, beside ours, in float32.

A file for each peer's function or layer, with a function `agreements` that yields one `Agreement`
for each thing compared; `python -m benchmarks.witness` finds the files by itself. For a layer:

    def agreements() -> Iterator[Agreement]:
        from transformers.models.mine import modeling_mine as hub

        peer, ours = hub.MineMixer(...), Mine(...)
        with torch.no_grad():
            ours.projection.weight.copy_(peer.in_proj.weight)
        yield agree("layer", "transformers", lambda x: ours(x)[0], peer, [draw(2, 50, 16)])

Peers are imported inside the function: one that is not installed is then said to be absent.
"""
