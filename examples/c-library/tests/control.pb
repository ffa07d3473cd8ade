# Everything is an expression.
fn sign(n) {
  if n < 0 { "minus" } else if n > 0 { "plus" } else { "zero" }
}
print(sign(-3), sign(0), sign(8));
print({ let a = 1; let b = 2; a + b });
print(if false { 1 });

fn find(list, wanted) {
  let i = 0;
  while i < len(list) {
    if list[i] == wanted { return i }
    i = i + 1;
  }
  -1
}
print(find([5, 6, 7], 7), find([5, 6, 7], 8));

let x = 1;
{
  let x = 2;
  { let x = 3; print(x); }
  print(x);
}
print(x);
