// by_logit[plane][cell] = (by_weight[plane][cell] - correction[plane]) * a * (1 - a): the gradient by
// the logits as the feature map sees them, with a their sigmoid. The rest is in cells.wgsl.

@group(0) @binding(2) var<storage, read> by_weight: array<Cell>;
@group(0) @binding(3) var<storage, read> correction: array<f32>;
@group(0) @binding(4) var<storage, read_write> by_logit: array<Cell>;

fn visit(plane: u32, at: u32, logit: Cell) -> Cell {
  // From the logit: 1 - a has no digits left where a is next to 1.
  let e = exp(-min(abs(logit), Cell(100.0)));
  let slope = e / ((1.0 + e) * (1.0 + e));
  by_logit[params.result_offset + at] = (by_weight[at] - correction[plane]) * slope;
  return Cell();
}

fn finish(part: u32, sum: Cell) {}
