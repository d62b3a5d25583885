package main

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// widest is the most that a comparison can hold on the other side: 2^127 - 1 nanobytes.
var widest = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 127), big.NewInt(1))

// quantityText is mostly well formed, and seldom plain.
func quantityText(random *rand.Rand) string {
	if random.IntN(20) == 0 {
		return noise(random)
	}
	number := pick(random, "", "", "", "+", "-") + digits(random)
	if random.IntN(3) == 0 {
		number += "." + digits(random)
	}
	suffix := pick(random, "", "", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "n", "u", "m", "k", "M", "G", "T", "P", "E")
	switch random.IntN(12) {
	case 0:
		suffix = pick(random, "e", "E") + pick(random, "", "+", "-") + fmt.Sprint(random.IntN(pick(random, 12, 40, 400)))
	case 1:
		// Go keeps 32 bits of an exponent that it has read with 64.
		suffix = fmt.Sprintf("e%d", int64(random.IntN(9)-4)<<32+int64(random.IntN(40)-20))
	case 2:
		suffix = pick(random, "K", "ki", "MI", "i", "Mii", "e", "mi", "B", "KB", "e9223372036854775808", "e1.5", "E+", "ee5", "Ei5")
	case 3:
		number = pick(random, "9223372036854775807", "9223372036854775808", "-9223372036854775808", "18446744073709551616",
			"8388608", "8796093022208", "8", "0.9999999999", "0.0000000001", "7.9999999999999999999", "999999999999999999",
			"1000000000000000000", ".", "+", "-", "", "+.", "00", "-0", "000000000000000000000000", "0.000000000000000000000")
	}
	text := number + suffix
	if random.IntN(25) == 0 && len(text) > 0 {
		at := random.IntN(len(text) + 1)
		text = text[:at] + pick(random, " ", ".", "_", "é", "\t", "\x00", "+", "%", ",", "🦀", "0x", "e") + text[at:]
	}
	return text
}

func noise(random *rand.Rand) string {
	var out strings.Builder
	for range random.IntN(12) {
		out.WriteString(pick(random, "0", "1", "9", ".", "+", "-", "e", "E", "i", "K", "M", "n", "u", "m", "%", " ", "\n", "ß", "x"))
	}
	return out.String()
}

// nanos is the exact amount, capped.
func nanos(quantity resource.Quantity) *big.Int {
	amount := quantity.AsDec()
	size := new(big.Int).Set(amount.UnscaledBig())
	if size.Sign() == 0 {
		return size
	}
	if places := 9 - int64(amount.Scale()); places > 100 {
		size.Mul(widest, big.NewInt(int64(size.Sign())))
	} else if places >= 0 {
		size.Mul(size, new(big.Int).Exp(big.NewInt(10), big.NewInt(places), nil))
	} else {
		// A sum with a zero of many places has them too, and they are all zeros.
		size.Quo(size, new(big.Int).Exp(big.NewInt(10), big.NewInt(-places), nil))
	}
	if size.CmpAbs(widest) > 0 {
		size.Mul(widest, big.NewInt(int64(size.Sign())))
	}
	return size
}

// quantityCase: text, then `error`, or Value() and the exact amount in nanos.
func quantityCase(random *rand.Rand) string {
	text := quantityText(random)
	quantity, err := resource.ParseQuantity(text)
	if err != nil {
		kind := map[error]string{resource.ErrFormatWrong: "format", resource.ErrNumeric: "numeric", resource.ErrSuffix: "suffix"}[err]
		return fmt.Sprintf("%s\terror\t%s", escape(text), kind)
	}
	value := quantity.Value()
	return fmt.Sprintf("%s\t%d\t%s", escape(text), value, nanos(quantity))
}
