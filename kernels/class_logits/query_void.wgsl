// Leaves void to the queries. With a the logits of a row and q those of its query, void last,
//   log p(void) = q[void] - lse(q)
//   log p(c) = (a[c] - lse(a without void)) + (lse(q without void) - lse(q))
// where lse(x) = log sum exp(x). In place over a. One workgroup per row.

struct Params {
  rows: u32,
  columns: u32, // void included
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> query: array<f32>;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;

@compute @workgroup_size(64)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let row = group.x + group.y * groups.x;
  let inside = row < params.rows;
  let start = row * params.columns;
  let classes = params.columns - 1u;
  var top_query = -3.0e38;
  var top = -3.0e38;
  if (inside) {
    for (var c = local; c < classes; c += 64u) {
      top_query = max(top_query, query[start + c]);
      top = max(top, logits[start + c]);
    }
  }
  top_query = max_over_workgroup(top_query, local);
  top = max_over_workgroup(top, local);
  var sum_query = 0.0;
  var sum = 0.0;
  if (inside) {
    for (var c = local; c < classes; c += 64u) {
      sum_query += exp(query[start + c] - top_query);
      sum += exp(logits[start + c] - top);
    }
  }
  sum_query = sum_over_workgroup(sum_query, local);
  sum = sum_over_workgroup(sum, local);
  if (!inside) {
    return;
  }
  let nothing = query[start + classes];
  let categories = top_query + log(sum_query);
  let top_all = max(categories, nothing);
  let all = top_all + log(exp(categories - top_all) + exp(nothing - top_all));
  let among = top + log(sum);
  for (var c = local; c < classes; c += 64u) {
    logits[start + c] = (logits[start + c] - among) + (categories - all);
  }
  if (local == 0u) {
    logits[start + classes] = nothing - all;
  }
}
