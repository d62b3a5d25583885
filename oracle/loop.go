package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	statsapi "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
	"k8s.io/kubernetes/pkg/kubelet/eviction"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	clocktesting "k8s.io/utils/clock/testing"
)

// node stands in for everything around the manager: it answers with what the case says and remembers whom it kills.
type node struct {
	summary *statsapi.Summary
	pods    []*v1.Pod
	victim  *v1.Pod
	grace   int64
}

func (n *node) Get(context.Context, bool) (*statsapi.Summary, error) { return n.summary, nil }
func (n *node) GetCPUAndMemoryStats(context.Context) (*statsapi.Summary, error) {
	return n.summary, nil
}
func (n *node) HasDedicatedImageFs(context.Context) (bool, error)     { return false, nil }
func (n *node) HasDedicatedContainerFs(context.Context) (bool, error) { return false, nil }
func (n *node) DeleteAllUnusedContainers(context.Context) error       { return nil }
func (n *node) DeleteUnusedImages(context.Context) error              { return nil }

func (n *node) kill(pod *v1.Pod, _ bool, grace *int64, _ func(*v1.PodStatus)) error {
	n.victim, n.grace = pod, *grace
	return nil
}

const mebi = 1 << 20

func thresholdText(random *rand.Rand) string {
	if random.IntN(3) == 0 {
		return pick(random, "5%", "10%", "3.3%", "12.5%")
	}
	return pick(random, "100Mi", "300Mi", "500Mi", "750Mi", "200M", "104857600500m")
}

// loopConfig makes a configuration. Its text: hard/soft/grace/reclaim/enforced/transition/longest grace.
func loopConfig(random *rand.Rand) (eviction.Config, string) {
	hard, soft, graces, reclaims := map[string]string{}, map[string]string{}, map[string]string{}, map[string]string{}
	fields := []string{"-", "-", "0", "-", "no"}
	if random.IntN(6) > 0 {
		fields[0] = thresholdText(random)
		hard["memory.available"] = fields[0]
	}
	if random.IntN(2) == 0 {
		seconds := pick(random, 0, 5, 15, 30, 90)
		fields[1], fields[2] = thresholdText(random), fmt.Sprint(seconds)
		soft["memory.available"] = fields[1]
		graces["memory.available"] = (time.Duration(seconds) * time.Second).String()
	}
	if random.IntN(2) == 0 {
		fields[3] = pick(random, "50Mi", "500Mi", "2%", "20%", "0")
		reclaims["memory.available"] = fields[3]
	}
	var enforced []string
	if random.IntN(3) > 0 {
		fields[4] = "pods"
		enforced = []string{"pods"}
	}
	thresholds, err := eviction.ParseThresholdConfig(enforced, hard, soft, graces, reclaims)
	if err != nil {
		panic(err)
	}
	transition, longest := pick(random, 0, 25, 60, 300), int64(pick(random, 0, 5, 30, 600))
	config := eviction.Config{
		PressureTransitionPeriod: time.Duration(transition) * time.Second,
		MaxPodGracePeriodSeconds: longest,
		Thresholds:               thresholds,
	}
	return config, strings.Join(append(fields, fmt.Sprint(transition), fmt.Sprint(longest)), "/")
}

func memory(limit, workingSet uint64, at time.Time) *statsapi.MemoryStats {
	available := limit - workingSet
	return &statsapi.MemoryStats{Time: metav1.NewTime(at), AvailableBytes: &available, WorkingSetBytes: &workingSet}
}

// admits asks for a pod of best effort, one with a request, a critical one and one that tolerates pressure.
func admits(handler lifecycle.PodAdmitHandler) string {
	critical := int32(2_000_000_000)
	plain := v1.Container{Name: "c"}
	asking := v1.Container{Name: "c", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse("1Mi")}}}
	specs := []v1.PodSpec{
		{Containers: []v1.Container{plain}},
		{Containers: []v1.Container{asking}},
		{Containers: []v1.Container{plain}, Priority: &critical},
		{Containers: []v1.Container{plain}, Tolerations: []v1.Toleration{{Key: v1.TaintNodeMemoryPressure, Operator: v1.TolerationOpExists}}},
	}
	answer := ""
	for _, spec := range specs {
		if handler.Admit(&lifecycle.PodAdmitAttributes{Pod: &v1.Pod{Spec: spec}}).Admit {
			answer += "y"
		} else {
			answer += "n"
		}
	}
	return answer
}

// loopCase: configuration, capacity and limit of kubepods, and the looks with `,` between them. A look is
// at/read at/working set of the root or `-`/of kubepods or `-`/pods with `;` between them, then `>` and the answer:
// pressure/victim or `-`/grace/admissions. A pod is priority:working set:request:grace. Where two thresholds act at once
// the kubelet takes either, by the order of a map, so the same seed may give another grace.
func loopCase(random *rand.Rand) string {
	config, configText := loopConfig(random)
	around := &node{}
	clock := clocktesting.NewFakeClock(time.Unix(1_000_000, 0))
	manager, handler := eviction.NewManager(around, config, around.kill, around, around, &record.FakeRecorder{}, &v1.ObjectReference{}, clock, false)
	capacity, limit := uint64(8192*mebi), uint64(6144*mebi)
	used, inPods := uint64(5000*mebi), uint64(4000*mebi)
	readAt := clock.Now()
	looks := []string{}
	for range 4 + random.IntN(12) {
		clock.Step(time.Duration(pick(random, 1, 5, 10, 10, 10, 10, 11, 40)) * time.Second)
		if random.IntN(8) > 0 {
			readAt = clock.Now()
		}
		used = wander(random, used, capacity)
		inPods = wander(random, inPods, limit)
		looks = append(looks, look(random, around, manager, handler, clock, readAt, [4]uint64{used, capacity, inPods, limit}))
	}
	return fmt.Sprintf("%s\t%d/%d\t%s", configText, capacity, limit, strings.Join(looks, ","))
}

// wander moves a working set, often to where thresholds are.
func wander(random *rand.Rand, used, capacity uint64) uint64 {
	if random.IntN(3) == 0 {
		return used
	}
	return capacity - uint64(random.IntN(pick(random, 120, 320, 800, 3000)))*mebi
}

func look(random *rand.Rand, around *node, manager eviction.Manager, handler lifecycle.PodAdmitHandler, clock *clocktesting.FakeClock, readAt time.Time, figures [4]uint64) string {
	around.summary = &statsapi.Summary{}
	start := time.Unix(1_000_000, 0)
	fields := []string{fmt.Sprint(int(clock.Since(start).Seconds())), fmt.Sprint(int(readAt.Sub(start).Seconds())), "-", "-"}
	if random.IntN(15) > 0 {
		around.summary.Node.Memory = memory(figures[1], figures[0], readAt)
		fields[2] = fmt.Sprint(figures[0])
	}
	if random.IntN(15) > 0 {
		pods := statsapi.ContainerStats{Name: statsapi.SystemContainerPods, Memory: memory(figures[3], figures[2], readAt)}
		around.summary.Node.SystemContainers = []statsapi.ContainerStats{pods}
		fields[3] = fmt.Sprint(figures[2])
	}
	around.pods, around.victim = nil, nil
	texts := []string{}
	for index := range random.IntN(4) {
		name := fmt.Sprint(index)
		priority, grace := pick(random, int32(0), 0, 100, 2_000_000_000), pick(random, int64(0), 1, 30, 900)
		used, asked := usage(random, true), pick(random, "0", "64Mi", "200Mi")
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
		pod.Spec = v1.PodSpec{Priority: &priority, TerminationGracePeriodSeconds: &grace, Containers: []v1.Container{{
			Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceMemory: resource.MustParse(asked)}}}}}
		stats := statsapi.PodStats{Memory: &statsapi.MemoryStats{WorkingSetBytes: &used}}
		stats.PodRef.UID = string(pod.UID)
		around.summary.Pods = append(around.summary.Pods, stats)
		around.pods = append(around.pods, pod)
		texts = append(texts, fmt.Sprintf("%d:%d:%s:%d", priority, used, asked, grace))
	}
	fields = append(fields, strings.Join(texts, ";"))
	given := append([]*v1.Pod{}, around.pods...)
	if _, err := synchronize(implementation(manager), context.Background(), around, func() []*v1.Pod { return given }); err != nil {
		panic(err)
	}
	victim := "-"
	if around.victim != nil {
		victim = around.victim.Name + "/" + fmt.Sprint(around.grace)
	} else {
		victim += "/0"
	}
	return fmt.Sprintf("%s>%t/%s/%s", strings.Join(fields, "/"), manager.IsUnderMemoryPressure(), victim, admits(handler))
}
