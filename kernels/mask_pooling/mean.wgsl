// area[row] = sum of part_areas[row]; means[row][d] = values[row][d] / (area[row] + epsilon). One
// workgroup per row. Cell is four channels, or one.

struct Params {
  rows: u32,
  parts: u32,
  cells: u32, // of a row
  values_offset: u32, // in cells
  means_offset: u32, // in cells
  area_offset: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> part_areas: array<f32>;
@group(0) @binding(2) var<storage, read> values: array<ValueCell>;
@group(0) @binding(3) var<storage, read_write> area: array<f32>;
@group(0) @binding(4) var<storage, read_write> means: array<Cell>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  if (row >= params.rows) {
    return;
  }
  var sum = 0.0;
  for (var part = local; part < params.parts; part += 64u) {
    sum += part_areas[row * params.parts + part];
  }
  let whole = sum_over_workgroup(sum, local);
  if (local == 0u) {
    area[params.area_offset + row] = whole;
  }
  for (var cell = local; cell < params.cells; cell += 64u) {
    let at = row * params.cells + cell;
    means[params.means_offset + at] = Cell(values[params.values_offset + at]) /
      (whole + params.epsilon);
  }
}
