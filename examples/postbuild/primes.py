"""Print the primes up to a number, as CSV: ``python3 primes.py 100``."""

import sys

limit = int(sys.argv[1])
is_prime = bytearray([1]) * (limit + 1)
print("number,prime")
count = 0
for candidate in range(2, limit + 1):
    if is_prime[candidate]:
        count += 1
        print(f"{count},{candidate}")
        is_prime[candidate * candidate :: candidate] = bytes(
            len(range(candidate * candidate, limit + 1, candidate))
        )
