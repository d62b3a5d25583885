package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	v1resource "k8s.io/kubernetes/pkg/api/v1/resource"
	kubetypes "k8s.io/kubernetes/pkg/kubelet/types"
)

// madePod is a pod, what the kubelet knows of its memory, and the text of both.
type madePod struct {
	pod   *v1.Pod
	stats *statsapi.PodStats
	text  string
}

// requestText is a quantity that an API server would let pass, not always a sensible one.
func requestText(random *rand.Rand, plain bool) string {
	switch n := random.IntN(20); {
	case n < 4:
		return ""
	case n < 14 || plain:
		return pick(random, "64Mi", "100Mi", "128Mi", "200Mi", "1Gi", "150M")
	case n < 17:
		return fmt.Sprint(random.Uint64N(1 << 33))
	case n < 18:
		return fmt.Sprintf("%dm", random.Uint64N(1<<40))
	case n < 19:
		return pick(random, "0", "1n", "1.5Gi", "0.1Mi", "10E", "16Ei", "1e3", "104857599.999999999")
	}
	for {
		text := quantityText(random)
		quantity, err := resource.ParseQuantity(text)
		if err == nil && quantity.Sign() >= 0 && nanos(quantity).BitLen() < 120 {
			return text
		}
	}
}

// requests sets one and returns its text; none is `-`.
func requests(random *rand.Rand, plain bool) (v1.ResourceList, string) {
	text := requestText(random, plain)
	if text == "" {
		return nil, "-"
	}
	return v1.ResourceList{v1.ResourceMemory: resource.MustParse(text)}, escape(text)
}

func usage(random *rand.Rand, plain bool) uint64 {
	if plain || random.IntN(3) == 0 {
		return pick(random, uint64(64), 100, 128, 150, 200, 300, 1024) << 20
	}
	switch random.IntN(30) {
	case 0:
		return random.Uint64()
	case 1:
		return pick(random, uint64(0), 1, 1<<63-1, 1<<63, 1<<64-1)
	}
	return random.Uint64N(1 << 33)
}

// makePod makes a pod. Its text: priority/kind/figure/containers/init/overhead/level, with `+` between several.
func makePod(random *rand.Rand, name string, plain bool) madePod {
	pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "n", UID: types.UID(name), Annotations: map[string]string{}}}
	fields := []string{"-", "api"}
	if random.IntN(5) > 0 {
		priority := pick(random, int32(0), 0, 0, 1, -1, 1000, 1_000_000_000, 1_999_999_999, 2_000_000_000, 2_000_001_000, -1<<31, 1<<31-1)
		if plain && priority >= 2_000_000_000 && random.IntN(2) == 0 {
			priority = 0
		}
		pod.Spec.Priority = &priority
		fields[0] = fmt.Sprint(priority)
	}
	if random.IntN(12) == 0 {
		fields[1] = pick(random, "file", "http", "mirror")
		if fields[1] == "mirror" {
			pod.Annotations[kubetypes.ConfigMirrorAnnotationKey] = "x"
		} else {
			pod.Annotations[kubetypes.ConfigSourceAnnotationKey] = fields[1]
		}
	} else if random.IntN(2) == 0 {
		pod.Annotations[kubetypes.ConfigSourceAnnotationKey] = "api"
	}
	made := madePod{pod: pod}
	switch random.IntN(12) {
	case 0:
		fields = append(fields, "-")
	case 1:
		made.stats = &statsapi.PodStats{}
		fields = append(fields, "0")
		if random.IntN(2) == 0 {
			made.stats.Memory = &statsapi.MemoryStats{}
		}
	default:
		used := usage(random, plain)
		made.stats = &statsapi.PodStats{Memory: &statsapi.MemoryStats{WorkingSetBytes: &used}}
		fields = append(fields, fmt.Sprint(used))
	}
	if made.stats != nil {
		made.stats.PodRef.UID = name
	}
	fields = append(fields, setRequests(random, &pod.Spec, plain)...)
	made.text = strings.Join(fields, "/")
	return made
}

func setRequests(random *rand.Rand, spec *v1.PodSpec, plain bool) []string {
	containers, inits := []string{}, []string{}
	for range 1 + random.IntN(3)*random.IntN(2) {
		list, text := requests(random, plain)
		spec.Containers = append(spec.Containers, v1.Container{Resources: v1.ResourceRequirements{Requests: list}})
		containers = append(containers, text)
	}
	for range random.IntN(4) * random.IntN(2) {
		list, text := requests(random, plain)
		init := v1.Container{Resources: v1.ResourceRequirements{Requests: list}}
		if random.IntN(2) == 0 {
			always := v1.ContainerRestartPolicyAlways
			init.RestartPolicy = &always
			text = "s" + text
		} else {
			text = "i" + text
		}
		spec.InitContainers = append(spec.InitContainers, init)
		inits = append(inits, text)
	}
	overhead, level := "-", "-"
	if random.IntN(6) == 0 {
		spec.Overhead, overhead = requests(random, plain)
	}
	if random.IntN(5) == 0 {
		list, text := requests(random, plain)
		spec.Resources = &v1.ResourceRequirements{Requests: list}
		level = text
		if list == nil {
			// Something else is set at the pod's level, and memory is not.
			other := v1.ResourceList{v1.ResourceCPU: resource.MustParse("1")}
			if random.IntN(2) == 0 {
				spec.Resources.Requests = other
			} else {
				spec.Resources.Limits = other
			}
			level = "without"
		}
	}
	return []string{strings.Join(containers, "+"), strings.Join(inits, "+"), overhead, level}
}

// request is what the ranking compares with.
func request(pod *v1.Pod) string {
	return nanos(v1resource.GetResourceRequestQuantity(pod, v1.ResourceMemory)).String()
}
