// The cells of the feature map, each with the logit that a mask has there.
//
// A plane is one mask of one image. Its cells (four pixels, or one) lie in rows and columns; an
// invocation visits eight rows of one column, so that it finds the column's place only once.
// `locate`, `logit` and `logits` come from gpu_kernels.ts, `visit` and `finish` from the kernel.

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
  result_offset: u32, // in cells
}

@group(0) @binding(0) var<uniform> params: Params;

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
    sum += visit(plane, plane * params.cells + cell, logit(plane, row, place));
  }
  finish(id, sum);
}
