package suite

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func nodesAskedNothing(s *space) {
	nodes, controllers := requestsOfNodes(s.T)
	s.Logf("count: requests to the API: node pods %d, controller and sidecars %d", nodes, controllers)
	if nodes != 0 {
		s.Errorf("the pods of nodes made %d requests to the API", nodes)
	}
	if controllers == 0 {
		s.Error("the audit log has no request of the controller: it is not that of this cluster")
	}
}

// nothingIsLeft asks the cluster, the nodes and the kernel what is left of all tests.
func nothingIsLeft(s *space) {
	for _, k := range []kind{volumes, attachments, contents, groupContents} {
		s.eventually("no "+k.String()+" to be left", func() error {
			list, err := s.dynamic.Resource(k.resource()).List(s.ctx, metav1.ListOptions{})
			if err != nil {
				return err
			}
			var names []string
			for _, u := range list.Items {
				names = append(names, u.GetName())
			}
			return left(strings.Join(names, "\n"))
		})
	}
	for _, node := range s.nodes(s.T) {
		for _, what := range []string{"volumes", "snapshots"} {
			s.eventually("no "+what+" to be left on "+node, func() error {
				_, rows, _ := strings.Cut(s.loamOn(node, what, "--config", configFile), "\n")
				return left(rows)
			})
		}
		s.eventually("no mount to be left on "+node, func() error {
			return left(grep(s.machines("on", node, "cat", "/proc/self/mountinfo"), "kubernetes.io~csi", "kubernetes.io/csi/"))
		})
	}
	// Of the loop devices of this machine those over files of the nodes. A pool has one, on which its file system is.
	s.eventually("no loop device to be left", func() error {
		return left(grep(s.machines("loop-devices"), "/volumes/", "(deleted)"))
	})
}

// grep returns the lines that have one of the words.
func grep(text string, words ...string) string {
	var found strings.Builder
	for line := range strings.Lines(text) {
		for _, word := range words {
			if strings.Contains(line, word) {
				found.WriteString(line)
				break
			}
		}
	}
	return found.String()
}

// left is an error where something is left.
func left(text string) error {
	if text = strings.TrimSpace(text); text != "" {
		return &leftover{text}
	}
	return nil
}

type leftover struct{ text string }

func (l *leftover) Error() string { return "there is:\n" + l.text }
