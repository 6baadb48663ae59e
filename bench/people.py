#!/usr/bin/env python3
"""Writes a list of made-up people as CSV, for measuring imports: bench/people.py COUNT [FIRST] > people.csv"""
import random
import sys

count = int(sys.argv[1])
first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
dice = random.Random(first)
print("email,phone_number,given_name,family_name,birthdate,externalId,sex,height,diabetes,currentWeight,allergies")
for n in range(first, first + count):
    # Addresses do not come in their order in a real list either.
    word = f"{dice.getrandbits(40):010x}"
    print(
        f"{word}.{n}@example.com,+1{2_010_000_000 + n},Given{n % 5000},Family{n % 20000},"
        f"19{n % 90 + 10}-{n % 12 + 1:02}-{n % 28 + 1:02},P-{n},{('female', 'male')[n % 2]},5ft {n % 12}in,{n % 4},"
        f"{n % 200 + 100},{('', 'nuts', 'lactose')[n % 3]}"
    )
