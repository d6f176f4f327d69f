// weights[plane][cell] = the weight of a mask for a cell of the feature map; part_areas[plane][part]
// = the sum of weights that one invocation computed.
//
// A plane is one mask of one image. Its cells (four pixels, or one) lie in rows and columns; an
// invocation computes eight rows of one column, so that it finds the column's place only once.
// `locate`, `logit` and `logits` come from gpu_kernels.ts.

struct Params {
  planes: u32,
  cells: u32,   // of a plane
  rows: u32,
  columns: u32,
  parts: u32,   // invocations per plane: columns * ceil(rows / 8)
  offset: u32,  // of the logits
  mask_height: u32,
  mask_width: u32,
  height: u32,
  width: u32,
  soft: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
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

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let id = (group.x + group.y * groups.x) * 64u + local;
  let plane = id / params.parts;
  if (plane >= params.planes) {
    return;
  }
  let part = id % params.parts;
  let column = part % params.columns;
  let first = part / params.columns * 8u;
  let place = locate(column);
  var sum = Cell();
  for (var row = first; row < min(first + 8u, params.rows); row++) {
    let cell = row * params.columns + column;
    if (cell >= params.cells) {
      break;
    }
    let value = weight(logit(plane, row, place));
    weights[plane * params.cells + cell] = value;
    sum += value;
  }
  part_areas[id] = total(sum);
}
