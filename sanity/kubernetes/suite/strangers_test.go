package suite

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// strangersAreRefused knocks at the port for nodes with everything but the right token. What is right, to begin with,
// is a token that could be: it is refused for the name of another node only.
func strangersAreRefused(s *space) {
	found, err := s.loamPods(s.ctx, controllerWorkload)
	ok(s, "list pods of loam", err)
	address := net.JoinHostPort(found[0].Status.PodIP, "9443")
	all := s.nodes(s.T)
	p := s.nodePod(all[0])
	s.eventually("the account of the namespace", func() error {
		_, err := s.kube.CoreV1().ServiceAccounts(s.name).Get(s.ctx, "default", getAny)
		return err
	})
	bound := &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.Name, UID: p.UID}
	for _, c := range []struct {
		what, path, node, token string
		want                    int
	}{
		{"no token", "/connect", all[0], "", http.StatusUnauthorized},
		{"what is no token", "/connect", all[0], "aaaa.bbbb.cccc", http.StatusUnauthorized},
		{"a token of another account", "/connect", all[0], s.token(s.name, "default", driver, nil), http.StatusUnauthorized},
		{"a token that is bound to no node", "/connect", all[0], s.token(system, nodeWorkload, driver, nil), http.StatusUnauthorized},
		{"a token for another audience", "/connect", all[0], s.token(system, nodeWorkload, "somebody.else", bound), http.StatusUnauthorized},
		{"a token for the API", "/connect", all[0], s.token(system, nodeWorkload, "https://kubernetes.default.svc", bound), http.StatusUnauthorized},
		{"a node with the name of another", "/connect", all[1], s.token(system, nodeWorkload, driver, bound), http.StatusUnauthorized},
		{"another path", "/metrics", all[0], s.token(system, nodeWorkload, driver, bound), http.StatusNotFound},
	} {
		if got := s.knock(address, c.path, c.node, c.token); got != c.want {
			s.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	// The nodes are still those that they were.
	s.connected(all...)
}

func (s *space) token(namespace, account, audience string, bound *authenticationv1.BoundObjectReference) string {
	s.Helper()
	r, err := s.kube.CoreV1().ServiceAccounts(namespace).CreateToken(s.ctx, account, &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}, ExpirationSeconds: new(int64(600)), BoundObjectRef: bound},
	}, metav1.CreateOptions{})
	ok(s, "make a token", err)
	return r.Status.Token
}

// knock asks to be connected as a node, and returns the status of the answer.
func (s *space) knock(address, path, node, token string) int {
	s.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // it is the client that is tested
	ok(s, "connect to the controller", err)
	defer conn.Close()
	request, err := http.NewRequestWithContext(s.ctx, http.MethodGet, "https://"+address+path, nil)
	ok(s, "make a request", err)
	request.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"loam"}, "Loam-Node": {node}}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	ok(s, "ask", request.Write(conn))
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	ok(s, "read the answer", err)
	return response.StatusCode
}

// refusalsSayWhy: what cannot be provisioned has an event that says why.
func refusalsSayWhy(s *space) {
	s.create(claims, claim("large", immediate, "900Gi"))
	s.event("large", "900GiB")
	s.create(claims, claim("parameter", unknown, "64Mi"))
	s.event("parameter", `"flavour"`)
	s.create(claims, claim("mode", immediate, "64Mi", accessMode("ReadWriteMany")))
	s.event("mode", "access mode")
	asked, err := s.kube.CoreV1().PersistentVolumeClaims(s.name).List(s.ctx, listAll)
	ok(s, "list claims", err)
	list := s.orphans() // also what other tests make, while its PersistentVolume is not written yet
	for _, c := range asked.Items {
		if grep(list, "pvc-"+string(c.UID)) != "" {
			s.Errorf("claim %q was refused, and has left something:\n%s", c.Name, list)
		}
	}
}
