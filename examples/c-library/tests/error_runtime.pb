fn inner(list) {
  list[7]
}
fn outer() { inner([1, 2, 3]) }
print("before");
outer();
print("never");
