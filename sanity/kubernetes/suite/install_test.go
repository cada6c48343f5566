package suite

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const chart = "../../../deploy/helm/loam"

// install installs loam from its chart, or changes how it is installed.
func (s *space) install(args ...string) {
	s.Helper()
	_, err := command(s.ctx, setting(s.T, "LOAM_TEST_HELM"), append([]string{"upgrade", "--install", "loam", chart, "--namespace", system, "--create-namespace", "--values", "values.yaml"}, args...)...)
	ok(s, "install the chart", err)
}

// chartIsInstalled installs loam and waits until every node has registered with its kubelet and with the controller.
func chartIsInstalled(s *space) {
	s.install()
	s.loamReady()
	all := s.nodes(s.T)
	for _, node := range all {
		n, err := s.kube.StorageV1().CSINodes().Get(s.ctx, node, getAny)
		ok(s, "get CSINode "+node, err)
		registered := false
		for _, d := range n.Spec.Drivers {
			registered = registered || d.Name == driver && slices.Contains(d.TopologyKeys, nodeLabel)
		}
		if !registered {
			s.Fatalf("node %q has the drivers %+v", node, n.Spec.Drivers)
		}
		if containers := s.nodePod(node).Spec.Containers; len(containers) != 1 {
			s.Errorf("the pod of loam on %q has %d containers", node, len(containers))
		}
	}
	s.connected(all...)
}

// nodePodsHaveNoAccess: a node's pod has no token that the API knows, and nothing on the cluster's side lets it in.
func nodePodsHaveNoAccess(s *space) {
	node := s.nodes(s.T)[0]
	p := s.nodePod(node)
	for _, v := range p.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if t := source.ServiceAccountToken; t != nil && t.Audience != driver {
				s.Errorf("the pod has a token for the audience %q", t.Audience)
			}
		}
	}
	token := s.machines("on", node, "cat", "/var/lib/kubelet/pods/"+string(p.UID)+"/volumes/kubernetes.io~projected/token/token")
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = strings.TrimSpace(token)
	as, err := kubernetes.NewForConfig(config)
	ok(s, "make a client", err)
	if list, err := as.CoreV1().Pods(system).List(s.ctx, listAll); err == nil {
		s.Errorf("with the token of a node %d pods could be listed", len(list.Items))
	}
	// And to whom it is meant for it says which node it is of.
	review, err := s.kube.AuthenticationV1().TokenReviews().Create(s.ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: config.BearerToken, Audiences: []string{driver}}}, metav1.CreateOptions{})
	ok(s, "review the token", err)
	if got := review.Status.User.Extra["authentication.kubernetes.io/node-name"]; !review.Status.Authenticated || len(got) != 1 || got[0] != node {
		s.Errorf("the token of %q is for %v: %+v", node, got, review.Status)
	}
}

// requestsOfNodes returns how many requests the pods of nodes made to the API, from its audit log, and how many the
// controller's made.
func requestsOfNodes(t *testing.T) (nodes, controllers int) {
	t.Helper()
	log, err := os.Open(setting(t, "LOAM_TEST_AUDIT"))
	ok(t, "open the audit log", err)
	defer log.Close()
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	var cut error // a line that the API server is still writing; it is the last one
	for lines.Scan() {
		ok(t, "read the audit log", cut)
		var e struct{ User struct{ Username string } }
		if cut = json.Unmarshal(lines.Bytes(), &e); cut != nil {
			continue
		}
		switch e.User.Username {
		case fmt.Sprintf("system:serviceaccount:%s:%s", system, nodeWorkload):
			nodes++
		case fmt.Sprintf("system:serviceaccount:%s:%s", system, controllerWorkload):
			controllers++
		}
	}
	ok(t, "read the audit log", lines.Err())
	return nodes, controllers
}

// manifestIsTaken: the API has nothing against the plain manifest, field by field.
func manifestIsTaken(s *space) {
	_, err := command(s.ctx, "kubectl", "apply", "--dry-run=server", "--filename", "../../../deploy/kubernetes/loam.yaml")
	ok(s, "apply the manifest", err)
}

// noSecretInLogs: nothing that loam and its sidecars log is a token, or was before a container was started again.
func noSecretInLogs(s *space) {
	for _, workload := range []string{controllerWorkload, nodeWorkload} {
		found, err := s.loamPods(s.ctx, workload)
		ok(s, "list pods of loam", err)
		for _, p := range found {
			for _, c := range p.Status.ContainerStatuses {
				s.logsNoToken(p.Name, c.Name, false)
				if c.RestartCount > 0 {
					s.logsNoToken(p.Name, c.Name, true)
				}
			}
		}
	}
}

// logsNoToken looks through the log of a container, or of the one that was in its place before.
func (s *space) logsNoToken(pod, container string, previous bool) {
	s.Helper()
	text, err := s.kube.CoreV1().Pods(system).GetLogs(pod, &v1.PodLogOptions{Container: container, Previous: previous}).DoRaw(s.ctx)
	if err != nil && previous {
		s.Logf("what %s/%s logged before it was started again is not kept: %v", pod, container, err)
		return
	}
	ok(s, "read the log of "+pod+"/"+container, err)
	if len(text) == 0 && container == "loam" && !previous {
		s.Errorf("%q has logged nothing", pod)
	}
	if i := strings.Index(string(text), "eyJhbGciOi"); i >= 0 {
		s.Errorf("%s/%s has logged what begins as a token does, at byte %d", pod, container, i)
	}
}
