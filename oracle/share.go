package main

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	evictionapi "k8s.io/kubernetes/pkg/kubelet/eviction/api"
)

func shareText(random *rand.Rand) string {
	text := ""
	switch random.IntN(12) {
	case 0:
		text = pick(random, "0", "100", "-0", "0.0", "100.0", "1e2", "NaN", "nan", "+nan", "inf", "-Inf", "+Infinity", "", "1_0", "0x1_0p0",
			"0x.8p1", "0x1p-149", "0X1.FFFFFEp6", "1e-46", "1e39", "3.4028235e38", "3.4028236e38", "1e99999", "1e-99999", ".", "e1", "0x1", "+5", "--5")
	case 1:
		// Half-way between two numbers of 32 bits, or next to it.
		low := math.Float32frombits(random.Uint32() & 0x42ffffff)
		high := math.Nextafter32(low, 1000)
		middle := new(big.Float).SetPrec(200).SetFloat64((float64(low) + float64(high)) / 2)
		text = middle.Text('f', 160) + pick(random, "", "", "1", "0000001")
		if random.IntN(3) == 0 {
			text = strings.TrimRight(text, "0")
		}
	case 2:
		text = fmt.Sprintf("0x%x.%xp%d", random.Uint64N(1<<uint(random.IntN(30)+1)), random.Uint64(), random.IntN(60)-40)
	case 3:
		text = pick(random, "", "-", "+") + digits(random) + "." + digits(random) + pick(random, "", "e"+strconv.Itoa(random.IntN(90)-50), "E+1")
	case 4:
		text = noise(random)
	case 5:
		text = strconv.FormatFloat(math.Exp(random.Float64()*60-50), 'g', -1, 64)
	default:
		text = strconv.FormatFloat(random.Float64()*pick(random, 1, 10, 105.0), 'f', random.IntN(20), 64)
	}
	return text + pick(random, "%", "%", "%", "%", "%", "%", "%%", "% ")
}

func capacity(random *rand.Rand) int64 {
	switch random.IntN(4) {
	case 0:
		return random.Int64()
	case 1:
		return int64(1)<<uint(random.IntN(63)) + int64(random.IntN(3)) - 1
	}
	return random.Int64N(4 << 40)
}

// bytesOf is the least integer that is not below the quantity.
func bytesOf(value evictionapi.ThresholdValue, capacity int64) string {
	size := nanos(*evictionapi.GetThresholdQuantity(value, resource.NewQuantity(capacity, resource.BinarySI)))
	if size.Sign() <= 0 {
		return "0"
	}
	billion := big.NewInt(1_000_000_000)
	size.Add(size, new(big.Int).Sub(billion, big.NewInt(1)))
	size.Div(size, billion)
	if !size.IsUint64() {
		return strconv.FormatUint(math.MaxUint64, 10)
	}
	return size.String()
}

func thresholdAnswer(text string, capacity int64) string {
	thresholds, err := eviction.ParseThresholdConfig(nil, map[string]string{"memory.available": text}, nil, nil, nil)
	switch {
	case err != nil:
		return "error"
	case len(thresholds) == 0:
		return "off"
	}
	return bytesOf(thresholds[0].Value, capacity)
}

func reclaimAnswer(text string, capacity int64) string {
	hard := map[string]string{"memory.available": "1"}
	thresholds, err := eviction.ParseThresholdConfig(nil, hard, nil, nil, map[string]string{"memory.available": text})
	if err != nil {
		return "error"
	}
	return bytesOf(*thresholds[0].MinReclaim, capacity)
}

// shareCase: text, capacity, what it is as a threshold (`error`, `off` or bytes), what as a minimum reclaim.
func shareCase(random *rand.Rand) string {
	text := shareText(random)
	if random.IntN(8) == 0 {
		text = quantityText(random)
	}
	size := capacity(random)
	return fmt.Sprintf("%s\t%d\t%s\t%s", escape(text), size, thresholdAnswer(text, size), reclaimAnswer(text, size))
}
