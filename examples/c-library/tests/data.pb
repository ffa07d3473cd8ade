let words = split("the cat and the dog and the bird", " ");
let count = dict();
let i = 0;
while i < len(words) {
  let w = words[i];
  count[w] = (count[w] or 0) + 1;
  i = i + 1;
}
print(count, len(count));
remove(count, "and");
count["and"] = "again";
print(keys(count), count["nothing"]);

let l = [1, "two", [3, nil], true];
l[-1] = false;
push(l, 5);
print(l, len(l), pop(l), len(l));
print(join(["a", 1, "b"], "-"), sub("pebble", 1, 4), num("12.5"), num("12x"), str(3) + "!");
print(filter(range(0, 10), fn(n) { n % 3 == 0 }), reduce(range(1, 101), 0, fn(a, b) { a + b }));

let self = [1];
push(self, self);
print(len(str(self)) < 200);
print(type(l), type(count), type(print), type(nil), type("x"), "a\tb\\\"");
