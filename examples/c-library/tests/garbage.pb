# Far more is allocated than is kept, within what the collector must survive.
fn tree(depth) {
  if depth == 0 { [] } else { [tree(depth - 1), tree(depth - 1)] }
}
fn count(t) {
  if len(t) == 0 { 1 } else { count(t[0]) + count(t[1]) }
}
let kept = tree(10);
let round = 0;
while round < 20 {
  assert(count(tree(10)) == 1024, "a tree lost leaves");
  let text = reduce(range(0, 200), "", fn(a, n) { a + str(n) });
  assert(len(text) == 490);
  round = round + 1;
}
print(count(kept));

# A long chain is marked without deep recursion.
let chain = nil;
let n = 0;
while n < 200000 {
  chain = [chain];
  n = n + 1;
}
print(len(chain));
