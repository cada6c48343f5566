package kubernetes

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	events "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// server is as much of a Kubernetes API as this package asks, with the rules that matter: an update of what has
// changed since it was read is a conflict.
type server struct {
	mu      sync.Mutex
	objects map[string]runtime.Object // by path
	version int
	reviews map[string]authentication.TokenReviewStatus // by token
	asked   []string
	events  []events.Event
	away    bool
	proxy   bool // something else answers
}

func newAPI(t *testing.T) (*server, *API) {
	t.Helper()
	s := &server{objects: map[string]runtime.Object{}, reviews: map[string]authentication.TokenReviewStatus{}}
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	api, err := NewAPI(&rest.Config{Host: web.URL})
	if err != nil {
		t.Fatal(err)
	}
	return s, api
}

func (s *server) put(path string, o runtime.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	o.(meta.Object).SetResourceVersion(strconv.Itoa(s.version))
	s.objects[path] = o
}

func (s *server) remove(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, path)
}

func aNode(name string) *core.Node {
	return &core.Node{TypeMeta: meta.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: meta.ObjectMeta{Name: name}}
}

func (s *server) get(path string) runtime.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects[path]
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	had := s.objects[r.URL.Path]
	fail := func(err *apierrors.StatusError) {
		err.ErrStatus.TypeMeta = meta.TypeMeta{Kind: "Status", APIVersion: "v1"}
		answer(w, int(err.ErrStatus.Code), &err.ErrStatus)
	}
	switch {
	case s.away:
		fail(apierrors.NewInternalError(http.ErrServerClosed))
	case r.Method == http.MethodPost && name == "tokenreviews":
		var review authentication.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = s.reviews[review.Spec.Token]
		answer(w, http.StatusCreated, &review)
	case r.Method == http.MethodPost && name == "events":
		var e events.Event
		_ = json.NewDecoder(r.Body).Decode(&e)
		s.events = append(s.events, e)
		answer(w, http.StatusCreated, &e)
	case s.proxy:
		http.NotFound(w, r)
	case r.Method == http.MethodGet && name == "nodes":
		s.nodes(w, r)
	case r.Method == http.MethodGet && name == "persistentvolumes":
		list := &core.PersistentVolumeList{TypeMeta: meta.TypeMeta{Kind: "PersistentVolumeList", APIVersion: "v1"}}
		for path, o := range s.objects {
			if strings.HasPrefix(path, "/api/v1/persistentvolumes/") {
				list.Items = append(list.Items, *o.(*core.PersistentVolume))
			}
		}
		answer(w, http.StatusOK, list)
	case had == nil:
		fail(apierrors.NewNotFound(schema.GroupResource{}, name))
	case strings.HasSuffix(r.Header.Get("Accept"), "as=PartialObjectMetadata"):
		answer(w, http.StatusOK, &meta.PartialObjectMetadata{TypeMeta: partial("PartialObjectMetadata"), ObjectMeta: had.(*core.Node).ObjectMeta})
	case r.Method == http.MethodGet:
		answer(w, http.StatusOK, had)
	case r.Method == http.MethodPut:
		now := had.DeepCopyObject()
		switch o := now.(type) {
		case *core.Secret:
			o.Data = nil
		case *core.ConfigMap:
			o.Data = nil
		}
		_ = json.NewDecoder(r.Body).Decode(now)
		if now.(meta.Object).GetResourceVersion() != had.(meta.Object).GetResourceVersion() {
			fail(apierrors.NewConflict(schema.GroupResource{}, name, http.ErrNotSupported))
			return
		}
		s.version++
		now.(meta.Object).SetResourceVersion(strconv.Itoa(s.version))
		s.objects[r.URL.Path] = now
		answer(w, http.StatusOK, now)
	default:
		fail(apierrors.NewMethodNotSupported(schema.GroupResource{}, r.Method))
	}
}

// nodes answers a list, in pages of two, of metadata alone.
func (s *server) nodes(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
		http.Error(w, "all of every node is asked for", http.StatusNotAcceptable)
		return
	}
	var all []string
	for path := range s.objects {
		if name, ok := strings.CutPrefix(path, "/api/v1/nodes/"); ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	list := &meta.PartialObjectMetadataList{TypeMeta: partial("PartialObjectMetadataList")}
	from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
	for _, name := range all[from:min(from+2, len(all))] {
		list.Items = append(list.Items, meta.PartialObjectMetadata{ObjectMeta: meta.ObjectMeta{Name: name}})
	}
	if from+2 < len(all) {
		list.Continue = strconv.Itoa(from + 2)
	}
	answer(w, http.StatusOK, list)
}

func partial(kind string) meta.TypeMeta {
	return meta.TypeMeta{Kind: kind, APIVersion: "meta.k8s.io/v1"}
}

func answer(w http.ResponseWriter, code int, o any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}
