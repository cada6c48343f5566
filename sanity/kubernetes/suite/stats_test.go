package suite

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// stats is as much of the kubelet's summary as is asked for here.
type stats struct {
	Pods []struct {
		PodRef struct{ Name, Namespace string }
		Volume []struct {
			Name                     string
			CapacityBytes, UsedBytes int64
			AvailableBytes           int64
			InodesUsed, Inodes       int64
			PVCRef                   *struct{ Name, Namespace string }
		}
	}
}

// kubeletKnowsUsage: how full a volume is shows in the kubelet's summary and in its metrics.
func kubeletKnowsUsage(s *space) {
	s.create(claims, claim("data", late, "64Mi"))
	p := s.run(pod("main", mounts("data")))
	s.must("main", "dd if=/dev/urandom of=/data/file bs=1M count=16 conv=fsync")
	// The kubelet asks once in one to two minutes.
	s.within(6*time.Minute, "the kubelet to know how full the volume is", func() error {
		raw, err := s.fromKubelet(p.Spec.NodeName, "stats/summary")
		if err != nil {
			return err
		}
		var all stats
		if err := json.Unmarshal(raw, &all); err != nil {
			return err
		}
		for _, p := range all.Pods {
			for _, v := range p.Volume {
				if p.PodRef.Namespace != s.name || v.PVCRef == nil {
					continue
				}
				if v.UsedBytes < 16<<20 || v.CapacityBytes < 48<<20 || v.AvailableBytes <= 0 || v.InodesUsed == 0 || v.Inodes == 0 {
					return fmt.Errorf("it says %+v of a volume of 64Mi in which 16Mi were written", v)
				}
				return nil
			}
		}
		return fmt.Errorf("it says nothing of a volume in namespace %s", s.name)
	})
	raw, err := s.fromKubelet(p.Spec.NodeName, "metrics")
	ok(s, "metrics of the kubelet", err)
	want := fmt.Sprintf(`kubelet_volume_stats_capacity_bytes{namespace=%q,persistentvolumeclaim="data"}`, s.name)
	if !strings.Contains(string(raw), want) {
		s.Errorf("the kubelet's metrics have no %s", want)
	}
}

func (s *space) fromKubelet(node, path string) ([]byte, error) {
	return s.kube.CoreV1().RESTClient().Get().Resource("nodes").Name(node).SubResource("proxy").Suffix(path).DoRaw(s.ctx)
}

func marshal(s *space, object any) string {
	s.Helper()
	text, err := json.Marshal(object)
	ok(s, "print", err)
	return string(text)
}
