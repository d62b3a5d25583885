// The oracle asks Kubernetes' own code: it makes up cases from a seed, lets the kubelet's modules answer them, and
// prints both, a case a line, fields apart by tabs. Whoever compares reads the lines; nothing is judged here.
//
// It holds no rule of its own. What is not exported is reached by its symbol (link.go) and never copied.
package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
)

// kinds of cases; each makes one line.
var kinds = map[string]func(*rand.Rand) string{
	"quantity": quantityCase,
	"share":    shareCase,
	"rank":     rankCase,
	"loop":     loopCase,
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("usage: oracle quantity|share|rank|loop COUNT SEED")
	}
	makeCase, found := kinds[arguments[0]]
	if !found {
		return fmt.Errorf("unknown kind of case %q", arguments[0])
	}
	count, err := strconv.Atoi(arguments[1])
	if err != nil {
		return fmt.Errorf("the number of cases: %w", err)
	}
	seed, err := strconv.ParseUint(arguments[2], 10, 64)
	if err != nil {
		return fmt.Errorf("the seed: %w", err)
	}
	silenceLogs()
	random := rand.New(rand.NewPCG(seed, 0x6f7261636c65))
	out := bufio.NewWriterSize(os.Stdout, 1<<16)
	for range count {
		fmt.Fprintln(out, makeCase(random))
	}
	return out.Flush()
}

// escape writes a text so that a line and its fields stay whole; an empty one is `\e`, and `-` alone stays free to mean none.
func escape(text string) string {
	switch text {
	case "":
		return `\e`
	case "-":
		return `\x2d`
	}
	var out strings.Builder
	for _, char := range []byte(text) {
		if char > ' ' && char < 0x7f && !strings.ContainsRune(`\,;:/+`, rune(char)) {
			out.WriteByte(char)
		} else {
			fmt.Fprintf(&out, `\x%02x`, char)
		}
	}
	return out.String()
}

func pick[T any](random *rand.Rand, from ...T) T {
	return from[random.IntN(len(from))]
}

// digits of a random length; seldom a very long one.
func digits(random *rand.Rand) string {
	length := random.IntN(8)
	switch random.IntN(12) {
	case 0:
		length = 15 + random.IntN(8)
	case 1:
		length = 15 + random.IntN(60)
	}
	var out strings.Builder
	for range length {
		out.WriteByte(pick(random, []byte("0000123456789999")...))
	}
	return out.String()
}
