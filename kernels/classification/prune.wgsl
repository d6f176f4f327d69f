// For every region of pixels, the classes that may win somewhere in it.
//
// Over a region each sigmoid lies between bounds, those of the samples around it. With d_n = how
// much more probable class c is than the pivot for mask n, c's lead over the pivot is at most
// Σ_n max(d_n·low_n, d_n·high_n). A class whose lead is certainly negative is dropped; which class
// serves as pivot matters for speed alone. The survivors are listed in no particular order.
//
// One workgroup per region. tiles.wgsl is written in front of this.

struct Params {
  groups: u32,
  plane: u32,
  mask_width: u32,
  classes: u32,
  units_x: u32,
  units_y: u32,
  region_side: u32,
  regions_x: u32,
  first_region: u32,
  regions: u32,
  capacity: u32,
  parent_side: u32,
  parents_x: u32,
  parent_capacity: u32,
  margin: f32,
}

struct Top {
  probability: f32,
  class_index: u32,
}

@group(0) @binding(4) var<storage, read> tops: array<Top>;
@group(0) @binding(5) var<storage, read> parents: array<u32>;
@group(0) @binding(6) var<storage, read_write> lists: array<u32>;
// Per region and four masks, the low bounds and the high bounds.
@group(0) @binding(7) var<storage, read_write> bounds: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> work: array<u32>;

var<workgroup> values: array<f32, 64>;
var<workgroup> classes_of: array<u32, 64>;
var<workgroup> survivors: atomic<u32>;

fn sigmoid(m: vec4<f32>) -> vec4<f32> {
  return 1.0 / (1.0 + exp(clamp(-m, vec4(-87.0), vec4(87.0))));
}

fn larger_lead(p: vec4<f32>, pivot: vec4<f32>, low: vec4<f32>, high: vec4<f32>) -> f32 {
  let d = p - pivot;
  return dot(max(d * low, d * high), vec4(1.0));
}

// Four classes in question; positions beyond the last repeat it.
fn candidates_at(at: u32, candidates: u32, listed: bool, first_parent: u32) -> vec4<u32> {
  let places = min(vec4(at) + vec4(0u, 1u, 2u, 3u), vec4(candidates - 1u));
  if (!listed) {
    return places;
  }
  let entry = vec4(first_parent + 1u) + places;
  return vec4(parents[entry.x], parents[entry.y], parents[entry.z], parents[entry.w]);
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let task = workgroup.x + workgroup.y * workgroups.x;
  let region = params.first_region + min(task, params.regions - 1u);
  let region_x = region % params.regions_x;
  let region_y = region / params.regions_x;
  let left = region_x * params.region_side;
  let top = region_y * params.region_side;
  let right = min(left + params.region_side, params.units_x) - 1u;
  let bottom = min(top + params.region_side, params.units_y) - 1u;
  let x0 = runs[left].low;
  let x1 = runs[right].high;
  let y0 = runs[params.units_x + top].low;
  let y1 = runs[params.units_x + bottom].high;
  let first_bound = region * params.groups * 2u;

  // Bounds, wide enough for the rounding of the interpolation and of the exponential.
  var guess = -1.0;
  var pivot = 0u;
  for (var n = local; n < params.groups; n += 64u) {
    let plane = n * params.plane;
    var low = masks[plane + y0 * params.mask_width + x0];
    var high = low;
    for (var y = y0; y <= y1; y++) {
      let row = plane + y * params.mask_width;
      for (var x = x0; x <= x1; x++) {
        let m = masks[row + x];
        low = min(low, m);
        high = max(high, m);
      }
    }
    let slack = 1e-6 * max(abs(low), abs(high));
    low = sigmoid(low - slack) * (1.0 - 4e-6);
    high = sigmoid(high + slack) * (1.0 + 4e-6);
    bounds[first_bound + 2u * n] = low;
    bounds[first_bound + 2u * n + 1u] = high;
    // The class that the strongest mask stands for is a good pivot.
    for (var q = 0u; q < 4u; q++) {
      let candidate = tops[n * 4u + q];
      let strength = candidate.probability * (low.x + high.x);
      if (strength > guess) {
        guess = strength;
        pivot = candidate.class_index;
      }
      low = low.yzwx;
      high = high.yzwx;
    }
  }

  let first_parent = parent_list(region_x, region_y);
  var candidates = params.classes;
  var listed = false;
  if (params.parent_capacity > 0u && parents[first_parent] <= params.parent_capacity) {
    candidates = parents[first_parent];
    listed = true;
  }
  storageBarrier();
  workgroupBarrier();

  if (candidates <= 256u) {
    // Few enough to find the pivot that is best in the middle of the bounds.
    guess = -1.0;
    if (local * 4u < candidates) {
      let ids = candidates_at(local * 4u, candidates, listed, first_parent);
      var middle = vec4(0.0);
      for (var n = 0u; n < params.groups; n++) {
        let sum = bounds[first_bound + 2u * n] + bounds[first_bound + 2u * n + 1u];
        let row = n * params.classes;
        middle += vec4(
          dot(probabilities[row + ids.x], sum),
          dot(probabilities[row + ids.y], sum),
          dot(probabilities[row + ids.z], sum),
          dot(probabilities[row + ids.w], sum),
        );
      }
      for (var q = 0u; q < 4u; q++) {
        if (middle[q] > guess) {
          guess = middle[q];
          pivot = ids[q];
        }
      }
    }
  }
  values[local] = guess;
  classes_of[local] = pivot;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (local < half && values[local + half] > values[local]) {
      values[local] = values[local + half];
      classes_of[local] = classes_of[local + half];
    }
    workgroupBarrier();
  }
  pivot = classes_of[0];

  let first_entry = region * (params.capacity + 1u);
  for (var at = local * 4u; at < candidates; at += 256u) {
    let ids = candidates_at(at, candidates, listed, first_parent);
    var lead = vec4(0.0);
    var most = vec4(0.0);
    var pivot_most = 0.0;
    for (var n = 0u; n < params.groups; n++) {
      let low = bounds[first_bound + 2u * n];
      let high = bounds[first_bound + 2u * n + 1u];
      let row = n * params.classes;
      let pp = probabilities[row + pivot];
      let p0 = probabilities[row + ids.x];
      let p1 = probabilities[row + ids.y];
      let p2 = probabilities[row + ids.z];
      let p3 = probabilities[row + ids.w];
      lead += vec4(
        larger_lead(p0, pp, low, high),
        larger_lead(p1, pp, low, high),
        larger_lead(p2, pp, low, high),
        larger_lead(p3, pp, low, high),
      );
      most += vec4(dot(p0, high), dot(p1, high), dot(p2, high), dot(p3, high));
      pivot_most += dot(pp, high);
    }
    // Rounding must not decide. Not "lead >= …", which NaN would fail: it keeps every class.
    let kept = !(lead < -params.margin * (most + pivot_most));
    for (var q = 0u; q < 4u; q++) {
      if (kept[q] && at + q < candidates) {
        let place = atomicAdd(&survivors, 1u);
        if (place < params.capacity) {
          lists[first_entry + 1u + place] = ids[q];
        }
      }
    }
  }
  workgroupBarrier();
  if (local == 0u && task < params.regions) {
    let count = atomicLoad(&survivors);
    lists[first_entry] = count;
    work[region] = select(candidates, count, count <= params.capacity);
  }
}
