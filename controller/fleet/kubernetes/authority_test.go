package kubernetes

import (
	"bytes"
	"crypto/x509"
	"sync"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/loam-storage/loam/driver/volume"
)

const (
	secretPath    = "/api/v1/namespaces/loam-system/secrets/" + SecretName
	configMapPath = "/api/v1/namespaces/loam-system/configmaps/" + ConfigMapName
)

var names = []string{"loam-controller.loam-system.svc", "*.loam-controller.loam-system.svc"}

// install makes what the chart makes.
func install(s *server) {
	s.put(secretPath, &core.Secret{TypeMeta: meta.TypeMeta{Kind: "Secret", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: SecretName, Namespace: "loam-system"}})
	s.put(configMapPath, &core.ConfigMap{TypeMeta: meta.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: ConfigMapName, Namespace: "loam-system"}})
}

// replica is an Authority with a clock.
func replica(api *API, now *time.Time) *Authority {
	a := NewAuthority(api, "loam-system", names)
	a.now = func() time.Time { return *now }
	return a
}

// trusts says whether a node that has that bundle believes what the replica serves at that time.
func trusts(bundle string, a *Authority, now time.Time) error {
	pair, err := a.Certificate(nil)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(bundle))
	_, err = pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, DNSName: "loam-controller-0.loam-controller.loam-system.svc"})
	return err
}

func published(s *server) string { return s.get(configMapPath).(*core.ConfigMap).Data[keyTrusted] }

// Three years of two replicas that look once a day, and of a node that hears of a new bundle a day late.
func TestNodesTrustTheControllerAtAnyTime(t *testing.T) {
	s, api := newAPI(t)
	install(s)
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	one, two := replica(api, &now), replica(api, &now)
	for _, a := range []*Authority{one, two} {
		if err := a.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	late := published(s)
	authorities, certificates := map[string]bool{}, map[string]bool{}
	for day := range 1100 {
		now = now.Add(24 * time.Hour)
		for i, a := range []*Authority{one, two} {
			if (day+i)%2 == 0 || day%7 == 0 { // neither looks each time
				if err := a.Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := trusts(late, a, now); err != nil {
				t.Fatalf("day %d: a node does not believe replica %d: %v", day, i, err)
			}
			pair, _ := a.Certificate(nil)
			certificates[pair.Leaf.SerialNumber.String()] = true
		}
		secret := s.get(secretPath).(*core.Secret)
		authorities[string(secret.Data[keySigner])] = true
		if n := bytes.Count([]byte(published(s)), []byte("BEGIN")); n > 3 {
			t.Fatalf("day %d: %d authorities are trusted", day, n)
		}
		if bytes.Contains([]byte(published(s)), []byte("PRIVATE")) {
			t.Fatal("a key is published")
		}
		late = published(s)
	}
	if len(authorities) != 4 || len(certificates) < 18 {
		t.Errorf("in three years there were %d authorities and %d certificates", len(authorities), len(certificates))
	}
}

func TestReplicasThatBeginAtOnceAgree(t *testing.T) {
	s, api := newAPI(t)
	install(s)
	now := time.Now()
	var all sync.WaitGroup
	replicas := make([]*Authority, 8)
	for i := range replicas {
		replicas[i] = replica(api, &now)
		all.Go(func() {
			if err := replicas[i].Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, a := range replicas {
		if err := trusts(published(s), a, now); err != nil {
			t.Errorf("replica %d: %v", i, err)
		}
	}
}

func TestDamagedSecretIsMadeAnew(t *testing.T) {
	s, api := newAPI(t)
	install(s)
	now := time.Now()
	a := replica(api, &now)
	for _, key := range []string{keySigner, keySignerKey, keyServing, keyServingKey, keyTrusted} {
		if err := a.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		secret := s.get(secretPath).DeepCopyObject().(*core.Secret)
		secret.Data[key] = []byte("nonsense")
		s.put(secretPath, secret)
		if err := a.Refresh(t.Context()); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if err := trusts(published(s), a, now); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestNothingIsServedWithoutACertificate(t *testing.T) {
	s, api := newAPI(t)
	now := time.Now()
	a := replica(api, &now)
	if err := a.Refresh(t.Context()); !volume.Is(err, volume.Unavailable) {
		t.Errorf("without a Secret: %v", err)
	}
	if _, err := a.Certificate(nil); !volume.Is(err, volume.Unavailable) {
		t.Error(err)
	}
	install(s)
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.away = true
	if err := a.Refresh(t.Context()); err == nil {
		t.Error("the API is away")
	}
	if err := trusts(published(s), a, now); err != nil {
		t.Errorf("what was served before is served no more: %v", err)
	}
}

// One replica's clock was ahead when it made everything, and has been set right.
func TestCertificateThatIsNotValidYetIsMadeAnew(t *testing.T) {
	s, api := newAPI(t)
	install(s)
	now := time.Now()
	ahead := now.Add(48 * time.Hour)
	for what, forget := range map[string][]string{"all of it": {keySigner, keyServing}, "the certificate": {keyServing}} {
		right, wrong := replica(api, &now), replica(api, &ahead)
		if err := right.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		secret := s.get(secretPath).DeepCopyObject().(*core.Secret)
		for _, key := range forget {
			delete(secret.Data, key)
		}
		s.put(secretPath, secret)
		if err := wrong.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := right.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := trusts(published(s), right, now); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What nodes trust may be deleted. They have it, so a certificate that was renewed is served.
func TestCertificateIsRenewedWithoutTheConfigMap(t *testing.T) {
	s, api := newAPI(t)
	install(s)
	now := time.Now()
	a := replica(api, &now)
	if err := a.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	had := published(s)
	s.mu.Lock()
	delete(s.objects, configMapPath)
	s.mu.Unlock()
	now = now.Add(certificateLife)
	if err := a.Refresh(t.Context()); !volume.Is(err, volume.Unavailable) {
		t.Errorf("nobody is told that the ConfigMap is gone: %v", err)
	}
	if err := trusts(had, a, now); err != nil {
		t.Error(err)
	}
}
