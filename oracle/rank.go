package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	v1 "k8s.io/api/core/v1"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
)

// rankCase: the pods, their requests, the order, and the first that may be evicted (or `-`). In the order `<` stands
// between two pods of which the left goes first, and `=` where either may.
func rankCase(random *rand.Rand) string {
	count := 1 + random.IntN(6)
	if random.IntN(8) == 0 {
		// From 13 on Go's sort does not keep the order of equals.
		count = 13 + random.IntN(20)
	}
	plain := random.IntN(2) == 0
	made := make([]madePod, count)
	pods := make([]*v1.Pod, count)
	place := map[*v1.Pod]int{}
	texts, asked := make([]string, count), make([]string, count)
	for index := range made {
		made[index] = makePod(random, fmt.Sprint(index), plain)
		pods[index] = made[index].pod
		place[pods[index]] = index
		texts[index] = made[index].text
		asked[index] = request(pods[index])
	}
	stats := func(pod *v1.Pod) (statsapi.PodStats, bool) {
		found := made[place[pod]].stats
		if found == nil {
			return statsapi.PodStats{}, false
		}
		return *found, true
	}
	rankMemoryPressure(pods, stats)
	var order strings.Builder
	victim := "-"
	for index, pod := range pods {
		if index > 0 {
			// Two stay as they are if neither is less: the sort of so few is stable.
			pair := []*v1.Pod{pod, pods[index-1]}
			rankMemoryPressure(pair, stats)
			if pair[0] == pod {
				order.WriteByte('=')
			} else {
				order.WriteByte('<')
			}
		}
		fmt.Fprint(&order, place[pod])
		if victim == "-" && !kubetypes.IsCriticalPod(pod) {
			victim = fmt.Sprint(place[pod])
		}
	}
	return strings.Join([]string{strings.Join(texts, ","), strings.Join(asked, ","), order.String(), victim}, "\t")
}
