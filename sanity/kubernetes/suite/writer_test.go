package suite

import (
	"fmt"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// writing writes a line after the other, syncs each, and counts them each hundred lines. It ends at the first error,
// and says which in its log.
const writing = `
trap 'exit 0' TERM
i=0
while true; do
    i=$((i + 1))
    echo "$i $i $i $i" >> /data/lines || { echo "write of line $i failed"; exit 1; }
    sync /data/lines || { echo "sync of line $i failed"; exit 1; }
    if [ $((i % 100)) = 0 ]; then
        [ "$(wc -l < /data/lines)" = $i ] || { echo "after line $i there are $(wc -l < /data/lines)"; exit 1; }
    fi
    usleep 20000
done`

// writer starts a pod that writes to a volume of its own.
func (s *space) writer(name string, edit ...func(*v1.Pod)) *v1.Pod {
	s.Helper()
	s.create(claims, claim(name, late, "64Mi"))
	p := pod(name, append([]func(*v1.Pod){runs(writing)}, edit...)...)
	p.Spec.Volumes = []v1.Volume{{Name: "data", VolumeSource: v1.VolumeSource{PersistentVolumeClaim: &v1.PersistentVolumeClaimVolumeSource{ClaimName: name}}}}
	p.Spec.Containers[0].VolumeMounts = []v1.VolumeMount{{Name: "data", MountPath: "/data"}}
	p = s.run(p)
	s.writesOn(name)
	return p
}

// lines returns how many lines a writer has written.
func (s *space) lines(name string) (int, error) {
	out, err := s.sh(s.ctx, s.name, name, "wc -l < /data/lines")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(out))
}

// writesOn waits until a writer has written 20 lines more, so what happened before has not stopped it.
func (s *space) writesOn(name string) {
	s.Helper()
	first := -1
	s.eventually(name+" to write", func() error {
		p, err := s.kube.CoreV1().Pods(s.name).Get(s.ctx, name, getAny)
		if err != nil {
			return err
		}
		if hasEnded(p) {
			s.Fatalf("writer %q ended: %s", name, s.logs(name))
		}
		n, err := s.lines(name)
		if err != nil {
			return err
		}
		if first < 0 {
			first = n
		}
		if n < first+20 {
			return fmt.Errorf("it has written %d lines since %d", n-first, first)
		}
		return nil
	})
}

// wholeAfter stops a writer, and reads what it wrote through another pod: every line, in order, as it was written.
func (s *space) wholeAfter(name string) {
	s.Helper()
	s.writesOn(name)
	s.remove(pods, name)
	check := name + "-check"
	s.run(pod(check, mounts(name)))
	out := s.must(check, fmt.Sprintf(`awk '$0 != NR " " NR " " NR " " NR { print "line " NR " is: " $0; exit 1 } END { print NR }' /%s/lines`, name))
	s.Logf("%s wrote %s lines, all whole", name, out)
	s.remove(pods, check)
}
