// labels[p] and scores[p] = the best class of every pixel and its score
// Σ_n probabilities[n][c]·sigmoid(m_n(p)), over the classes of the pixel's tile.
//
// One invocation per unit: at most `side` × `side` pixels between the same four samples. One
// workgroup per tile of 8 × 8 units. Classes are taken `block` at a time, so that the sigmoids of a
// pixel are shared by them; nothing is kept per class.

// `const side`, `const block` and tiles.wgsl are written in front of this.

struct Params {
  groups: u32,
  plane: u32,
  mask_width: u32,
  classes: u32,
  width: u32,
  units_x: u32,
  units_y: u32,
  tiles_x: u32,
  first_tile: u32,
  tiles: u32,
  capacity: u32,
  parent_side: u32,
  parents_x: u32,
  parent_capacity: u32,
  // Which of the tile's classes: positions, not classes.
  begin: u32,
  end: u32,
  // The least and the most classes of tiles that this dispatch is for.
  least: u32,
  most: u32,
  // What is added to a class for its label, and whether other classes came before and come after.
  first_class: u32,
  resumed: u32,
  last: u32,
  threshold: f32,
  empty: f32,
}

@group(0) @binding(4) var<storage, read> parents: array<u32>;
@group(0) @binding(5) var<storage, read> lists: array<u32>;
@group(0) @binding(6) var<storage, read_write> labels: array<i32>;
@group(0) @binding(7) var<storage, read_write> scores: array<f32>;

// exp by range reduction in two parts: the built-in may be off by 3 + 2|m| units in the last place.
fn sigmoid(m: vec4<f32>) -> vec4<f32> {
  let z = clamp(-m, vec4(-87.0), vec4(87.0));
  let k = floor(z * 1.44269504 + 0.5);
  let r = (z - k * 0.693359375) + k * 2.12194440e-4;
  var e = r * 1.3888889e-3 + 8.3333333e-3;
  e = e * r + 4.1666667e-2;
  e = e * r + 1.6666667e-1;
  e = e * r + 0.5;
  e = e * r + 1.0;
  e = e * r + 1.0;
  let power = bitcast<vec4<f32>>((vec4<i32>(k) + 127) << vec4(23u));
  return 1.0 / (1.0 + e * power);
}

// Rows are worked on one after another in the first place: `side` turns bring them back.
fn turn(m: mat4x4<f32>) -> mat4x4<f32> {
  if (side == 4u) {
    return mat4x4(m[1], m[2], m[3], m[0]);
  }
  return mat4x4(m[1], m[0], m[2], m[3]);
}

fn turn_vector(v: vec4<f32>) -> vec4<f32> {
  if (side == 4u) {
    return v.yzwx;
  }
  return v.yxzw;
}

// The best of four pixels so far.
struct Best {
  score: vec4<f32>,
  label: vec4<i32>,
}

fn offer(best: Best, score: vec4<f32>, class_index: u32) -> Best {
  let label = vec4(i32(class_index + params.first_class));
  let wins = (score > best.score) | ((score == best.score) & (label < best.label));
  return Best(select(best.score, score, wins), select(best.label, label, wins));
}

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let task = workgroup.x + workgroup.y * workgroups.x;
  let tile = params.first_tile + task;
  let tile_x = tile % params.tiles_x;
  let tile_y = tile / params.tiles_x;
  let unit_x = tile_x * 8u + local % 8u;
  let unit_y = tile_y * 8u + local / 8u;
  if (task >= params.tiles || unit_x >= params.units_x || unit_y >= params.units_y) {
    return;
  }

  // The tile's own list, else that of the region around it, else all classes.
  let own = tile * (params.capacity + 1u);
  let shared_list = parent_list(tile_x, tile_y);
  var count = params.classes;
  var source = 0u;
  if (params.capacity > 0u && lists[own] <= params.capacity) {
    count = lists[own];
    source = 2u;
  } else if (params.parent_capacity > 0u && parents[shared_list] <= params.parent_capacity) {
    count = parents[shared_list];
    source = 1u;
  }
  if (count < params.least || count > params.most || params.begin >= count) {
    return;
  }

  let run_x = runs[unit_x];
  let run_y = runs[params.units_x + unit_y];
  let steps = vec4(0.0, 1.0, 2.0, 3.0);
  let fx = clamp(run_x.offset + run_x.step * steps, vec4(0.0), vec4(1.0));
  var fy = clamp(run_y.offset + run_y.step * steps, vec4(0.0), vec4(1.0));
  let gx = 1.0 - fx;
  var gy = 1.0 - fy;
  let i00 = run_y.low * params.mask_width + run_x.low;
  let i01 = run_y.low * params.mask_width + run_x.high;
  let i10 = run_y.high * params.mask_width + run_x.low;
  let i11 = run_y.high * params.mask_width + run_x.high;
  let first_pixel = run_y.start * params.width + run_x.start;

  let nothing = Best(vec4(-1.0), vec4(0x7fffffff));
  var best0 = nothing;
  var best1 = nothing;
  var best2 = nothing;
  var best3 = nothing;
  if (params.resumed == 1u || params.begin > 0u) {
    for (var y = 0u; y < side; y++) {
      if (y < run_y.count) {
        let at = first_pixel + y * params.width;
        best0 = Best(vec4(scores[at]), vec4(labels[at]));
        if (side > 1u && run_x.count > 1u) {
          best0.score.y = scores[at + 1u];
          best0.label.y = labels[at + 1u];
        }
        if (side > 2u && run_x.count > 2u) {
          best0.score.z = scores[at + 2u];
          best0.label.z = labels[at + 2u];
        }
        if (side > 2u && run_x.count > 3u) {
          best0.score.w = scores[at + 3u];
          best0.label.w = labels[at + 3u];
        }
      }
      if (side > 1u) {
        let first = best0;
        best0 = best1;
        if (side == 4u) {
          best1 = best2;
          best2 = best3;
          best3 = first;
        } else {
          best1 = first;
        }
      }
    }
  }

  let end = min(params.end, count);
  for (var k = params.begin; k < end; k += block) {
    // Positions beyond the last repeat it, which changes nothing.
    var ids = min(vec4(k) + vec4(0u, 1u, 2u, 3u), vec4(end - 1u));
    if (source == 2u) {
      ids = vec4(
        lists[own + 1u + ids.x],
        lists[own + 1u + ids.y],
        lists[own + 1u + ids.z],
        lists[own + 1u + ids.w],
      );
    } else if (source == 1u) {
      let entry = shared_list + 1u;
      ids = vec4(
        parents[entry + ids.x],
        parents[entry + ids.y],
        parents[entry + ids.z],
        parents[entry + ids.w],
      );
    }
    var s0 = mat4x4<f32>();
    var s1 = mat4x4<f32>();
    var s2 = mat4x4<f32>();
    var s3 = mat4x4<f32>();
    for (var n = 0u; n < params.groups; n++) {
      let plane = n * params.plane;
      let m00 = masks[plane + i00];
      let m01 = masks[plane + i01];
      let m10 = masks[plane + i10];
      let m11 = masks[plane + i11];
      let p = n * params.classes;
      let p0 = probabilities[p + ids.x];
      var p1 = p0;
      var p2 = p0;
      var p3 = p0;
      if (block > 1u) {
        p1 = probabilities[p + ids.y];
        p2 = probabilities[p + ids.z];
        p3 = probabilities[p + ids.w];
      }
      for (var y = 0u; y < side; y++) {
        let left = m00 * gy.x + m10 * fy.x;
        let right = m01 * gy.x + m11 * fy.x;
        let a = sigmoid(left * gx.x + right * fx.x);
        s0[0].x += dot(p0, a);
        if (block > 1u) {
          s1[0].x += dot(p1, a);
          s2[0].x += dot(p2, a);
          s3[0].x += dot(p3, a);
        }
        if (side > 1u) {
          let b = sigmoid(left * gx.y + right * fx.y);
          s0[0].y += dot(p0, b);
          if (block > 1u) {
            s1[0].y += dot(p1, b);
            s2[0].y += dot(p2, b);
            s3[0].y += dot(p3, b);
          }
        }
        if (side > 2u) {
          let c = sigmoid(left * gx.z + right * fx.z);
          let d = sigmoid(left * gx.w + right * fx.w);
          s0[0].z += dot(p0, c);
          s0[0].w += dot(p0, d);
          if (block > 1u) {
            s1[0].z += dot(p1, c);
            s1[0].w += dot(p1, d);
            s2[0].z += dot(p2, c);
            s2[0].w += dot(p2, d);
            s3[0].z += dot(p3, c);
            s3[0].w += dot(p3, d);
          }
        }
        if (side > 1u) {
          fy = turn_vector(fy);
          gy = turn_vector(gy);
          s0 = turn(s0);
          if (block > 1u) {
            s1 = turn(s1);
            s2 = turn(s2);
            s3 = turn(s3);
          }
        }
      }
    }
    best0 = offer(best0, s0[0], ids.x);
    if (side > 1u) {
      best1 = offer(best1, s0[1], ids.x);
    }
    if (side > 2u) {
      best2 = offer(best2, s0[2], ids.x);
      best3 = offer(best3, s0[3], ids.x);
    }
    if (block > 1u) {
      best0 = offer(offer(offer(best0, s1[0], ids.y), s2[0], ids.z), s3[0], ids.w);
      if (side > 1u) {
        best1 = offer(offer(offer(best1, s1[1], ids.y), s2[1], ids.z), s3[1], ids.w);
      }
      if (side > 2u) {
        best2 = offer(offer(offer(best2, s1[2], ids.y), s2[2], ids.z), s3[2], ids.w);
        best3 = offer(offer(offer(best3, s1[3], ids.y), s2[3], ids.z), s3[3], ids.w);
      }
    }
  }

  let finished = params.last == 1u && params.end >= count;
  for (var y = 0u; y < side; y++) {
    if (y < run_y.count) {
      if (finished) {
        let known = (best0.score > vec4(params.empty)) & (best0.score >= vec4(params.threshold));
        best0.label = select(vec4(-1), best0.label, known);
        best0.score = select(vec4(0.0), best0.score, known);
      }
      let at = first_pixel + y * params.width;
      labels[at] = best0.label.x;
      scores[at] = best0.score.x;
      if (side > 1u && run_x.count > 1u) {
        labels[at + 1u] = best0.label.y;
        scores[at + 1u] = best0.score.y;
      }
      if (side > 2u && run_x.count > 2u) {
        labels[at + 2u] = best0.label.z;
        scores[at + 2u] = best0.score.z;
      }
      if (side > 2u && run_x.count > 3u) {
        labels[at + 3u] = best0.label.w;
        scores[at + 3u] = best0.score.w;
      }
    }
    if (side == 4u) {
      best0 = best1;
      best1 = best2;
      best2 = best3;
    } else {
      best0 = best1;
    }
  }
}
