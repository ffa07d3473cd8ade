# Precedence, grouping, and what is not a number.
print(1 + 2 * 3, (1 + 2) * 3, 2 ^ 3 ^ 2, -2 ^ 2);
print(7 % 3, -7 % 3, 7 % -3, 1 / 4, 1e3, 0.1 + 0.2);
print(1 / 0, -1 / 0);
print(1 < 2, 2 <= 2, "a" < "b", "ab" > "b", 1 == "1", nil == false);
print(not 1 == 2, true and "yes", nil or "default", false and boom());
print(floor(2.7), sqrt(2), abs(-3), min(3, 1, 2), max(3, 1, 2));
