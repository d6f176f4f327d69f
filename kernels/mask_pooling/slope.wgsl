// by_logit[plane][cell] = (by_weight[plane][cell] - correction[plane]) * a * (1 - a): the gradient by
// the logits as the feature map sees them, with a their sigmoid. Laid out as weights.wgsl.

struct Params {
  planes: u32,
  cells: u32,
  rows: u32,
  columns: u32,
  parts: u32,
  offset: u32, // of the logits
  mask_height: u32,
  mask_width: u32,
  height: u32,
  width: u32,
  result_offset: u32, // in cells
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> by_weight: array<Cell>;
@group(0) @binding(3) var<storage, read> correction: array<f32>;
@group(0) @binding(4) var<storage, read_write> by_logit: array<Cell>;

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
  let mean = correction[plane];
  for (var row = first; row < min(first + 8u, params.rows); row++) {
    let cell = row * params.columns + column;
    if (cell >= params.cells) {
      break;
    }
    // From the logit: 1 - a has no digits left where a is next to 1.
    let e = exp(-min(abs(logit(plane, row, place)), Cell(100.0)));
    let at = plane * params.cells + cell;
    by_logit[params.result_offset + at] = (by_weight[at] - mean) * (e / ((1.0 + e) * (1.0 + e)));
  }
}
