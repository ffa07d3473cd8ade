# A closure keeps the values it saw when it was made.
fn adder(n) { fn(x) { x + n } }
let add2 = adder(2);
let add10 = adder(10);
print(add2(1), add10(1));

fn compose(f, g) { fn(x) { f(g(x)) } }
print(compose(add2, add10)(0));

# Captures pass through functions in between.
fn deep(a) { fn() { fn() { fn() { a } } } }
print(deep("found")()()());

# Each turn of a loop has its own.
let made = [];
let i = 0;
while i < 3 {
  let here = i * i;
  push(made, fn() { here });
  i = i + 1;
}
print(map(made, fn(f) { f() }));

# A local function may call itself.
{
  fn fact(n) { if n < 2 { 1 } else { n * fact(n - 1) } }
  print(fact(20));
}
