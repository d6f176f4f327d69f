// weights[plane][cell] = the weight of a mask for a cell of the feature map; part_areas[plane][part]
// = the sum of weights that one invocation of cells.wgsl computed.

@group(0) @binding(2) var<storage, read_write> weights: array<Cell>;
@group(0) @binding(3) var<storage, read_write> part_areas: array<f32>;

fn weight(logit: Cell) -> Cell {
  if (params.soft == 0u) {
    return select(Cell(0.0), Cell(1.0), logit > Cell(0.0));
  }
  // exp of a negative number can't overflow.
  let e = exp(-min(abs(logit), Cell(100.0)));
  return select(e, Cell(1.0), logit >= Cell(0.0)) / (1.0 + e);
}

fn visit(plane: u32, at: u32, logit: Cell) -> Cell {
  let value = weight(logit);
  weights[at] = value;
  return value;
}

fn finish(part: u32, sum: Cell) {
  part_areas[part] = total(sum);
}
