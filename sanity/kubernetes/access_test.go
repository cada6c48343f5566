//go:build kubernetes

package kubernetes_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func nodesAskNothing(w *world) {
	for _, name := range strings.Fields(w.kubectlIn(system, "get", "pods", "-l", "app.kubernetes.io/component=node", "-o", "jsonpath={.items[*].metadata.name}")) {
		if mounts := w.kubectlIn(system, "get", "pod", name, "-o", "jsonpath={.spec.containers[*].volumeMounts[*].mountPath}"); strings.Contains(mounts, "kubernetes.io/serviceaccount") {
			w.Errorf("%s has a token for the API: %s", name, mounts)
		}
	}
	audit, err := os.ReadFile(os.Getenv("LOAM_TEST_AUDIT"))
	if err != nil {
		w.Fatal(err)
	}
	text := string(audit)
	if !strings.Contains(text, "system:serviceaccount:loam-system:loam-controller") {
		w.Fatal("the audit log does not even have what the controller asked")
	}
	asked := strings.Count(text, `"username":"system:serviceaccount:loam-system:loam-node"`)
	fmt.Printf("count: requests of node pods to the Kubernetes API: %d\n", asked)
	if asked != 0 {
		w.Errorf("nodes asked the API %d times", asked)
	}
}

// strangers knocks at the port for nodes with everything but the right token.
func strangers(w *world) {
	address := w.kubectlIn(system, "get", "pod", "loam-controller-0", "-o", "jsonpath={.status.podIP}") + ":9443"
	node := w.kubectlIn(system, "get", "pods", "-l", "app.kubernetes.io/component=node", "-o", "jsonpath={.items[0].metadata.name}")
	on := w.kubectlIn(system, "get", "pod", node, "-o", "jsonpath={.spec.nodeName}")
	uid := w.kubectlIn(system, "get", "pod", node, "-o", "jsonpath={.metadata.uid}")
	other := map[string]string{"node-1": "node-2", "node-2": "node-1"}[on]
	token := func(namespace, account, audience string, bound *authentication.BoundObjectReference) string {
		seconds := int64(600)
		r, err := w.api.CoreV1().ServiceAccounts(namespace).CreateToken(w.Context(), account, &authentication.TokenRequest{
			Spec: authentication.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: &seconds, BoundObjectRef: bound}}, meta.CreateOptions{})
		if err != nil {
			w.Fatal(err)
		}
		return r.Status.Token
	}
	bound := &authentication.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: node, UID: types.UID(uid)}
	for name, c := range map[string]struct {
		path, claims, token string
		want                int
	}{
		"no token":                         {"/connect", on, "", http.StatusUnauthorized},
		"no token at all of ours":          {"/connect", on, "aaaa.bbbb.cccc", http.StatusUnauthorized},
		"token of another account":         {"/connect", on, token("default", "default", "loam.storage", nil), http.StatusUnauthorized},
		"token that is bound to no node":   {"/connect", on, token(system, "loam-node", "loam.storage", nil), http.StatusUnauthorized},
		"token for another audience":       {"/connect", on, token(system, "loam-node", "somebody.else", bound), http.StatusUnauthorized},
		"token for the API itself":         {"/connect", on, token(system, "loam-node", "https://kubernetes.default.svc", bound), http.StatusUnauthorized},
		"token of a node, name of another": {"/connect", other, token(system, "loam-node", "loam.storage", bound), http.StatusUnauthorized},
		"another path":                     {"/metrics", on, "", http.StatusNotFound},
	} {
		if got := knock(w, address, c.path, c.claims, c.token); got != c.want {
			w.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	w.until(30*time.Second, "the refusals in the log", func() error {
		said := w.kubectlIn(system, "logs", "loam-controller-0", "-c", "loam", "--since=10m")
		if !strings.Contains(said, "refused a node") {
			return fmt.Errorf("it has none")
		}
		if strings.Contains(said, "aaaa.bbbb.cccc") || strings.Contains(said, "eyJ") {
			w.Fatal("there is a token in the log")
		}
		return nil
	})
}

func knock(w *world, address, path, node, token string) int {
	w.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // it is the client who is tested
	if err != nil {
		w.Fatal(err)
	}
	defer conn.Close()
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, "https://"+address+path, nil)
	if err != nil {
		w.Fatal(err)
	}
	req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"loam"}, "Loam-Node": {node}}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if err := req.Write(conn); err != nil {
		w.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode
}
