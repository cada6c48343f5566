package controller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"

	"github.com/loam-storage/loam/driver/volume"
)

// listed is the handles of one list, page by page.
type listed struct {
	pages [][]string
	all   []string
}

// walk reads pages until there is no next one, and calls between after each.
func walk(t *testing.T, page func(token string) ([]string, string, error), between func(page []string)) listed {
	t.Helper()
	var l listed
	for token := ""; ; {
		entries, next, err := page(token)
		if err != nil {
			t.Fatal(err)
		}
		l.pages, l.all = append(l.pages, entries), append(l.all, entries...)
		if next == "" {
			return l
		}
		if len(l.pages) > 10000 {
			t.Fatal("the list has no end")
		}
		token = next
		between(entries)
	}
}

func (m *machine) volumePage(limit int32) func(string) ([]string, string, error) {
	return func(token string) ([]string, string, error) {
		answer, err := m.ListVolumes(m.Context(), &csi.ListVolumesRequest{MaxEntries: limit, StartingToken: token})
		var handles []string
		for _, e := range answer.GetEntries() {
			handles = append(handles, e.GetVolume().GetVolumeId())
		}
		return handles, answer.GetNextToken(), err
	}
}

func (m *machine) snapshotPage(limit int32, source string) func(string) ([]string, string, error) {
	return func(token string) ([]string, string, error) {
		answer, err := m.ListSnapshots(m.Context(), &csi.ListSnapshotsRequest{MaxEntries: limit, StartingToken: token, SourceVolumeId: source})
		var handles []string
		for _, e := range answer.GetEntries() {
			handles = append(handles, e.GetSnapshot().GetSnapshotId())
		}
		return handles, answer.GetNextToken(), err
	}
}

// fill makes volumes in all three pools and returns their handles in order.
func (m *machine) fill(perPool int) []string {
	var handles []string
	for i := range perPool {
		for _, p := range []string{"slow", "fast", "bare"} {
			handles = append(handles, m.create(p, fmt.Sprintf("%s-%03d", p, i)).GetVolumeId())
		}
	}
	slices.Sort(handles)
	return handles
}

func TestPagesShowEachVolumeOnceInOrder(t *testing.T) {
	m := newMachine(t)
	handles := m.fill(7)
	for limit := range int32(len(handles) + 3) {
		got := walk(t, m.volumePage(limit), func([]string) {})
		if !slices.Equal(got.all, handles) {
			t.Errorf("%d at a time: %v, want %v", limit, got.all, handles)
		}
		for i, page := range got.pages {
			if limit > 0 && (len(page) > int(limit) || (i < len(got.pages)-1 && len(page) != int(limit)) || len(page) == 0) {
				t.Errorf("%d at a time: page %d has %d", limit, i, len(page))
			}
		}
	}
	if empty := walk(t, newMachine(t).volumePage(5), func([]string) {}); len(empty.all) > 0 || len(empty.pages) != 1 {
		t.Errorf("of empty pools: %v", empty)
	}
}

func TestAListSaysWhatIsPublished(t *testing.T) {
	m := newMachine(t)
	m.create("fast", "a")
	m.publish(m.create("slow", "b").GetVolumeId(), false)
	list, err := m.ListVolumes(t.Context(), &csi.ListVolumesRequest{})
	m.ok("ListVolumes", err)
	got := map[string][]string{}
	for _, e := range list.GetEntries() {
		if e.GetStatus() == nil {
			t.Errorf("%v has no status", e)
		}
		got[e.GetVolume().GetVolumeId()] = e.GetStatus().GetPublishedNodeIds()
	}
	if len(got) != 2 || len(got[handle("fast", "a")]) != 0 || !slices.Equal(got[handle("slow", "b")], []string{node}) {
		t.Errorf("published: %v", got)
	}
}

// A page begins behind the last entry of the one before, also when that entry is gone by then.
func TestPagesGoOnWhileVolumesAreDeleted(t *testing.T) {
	m := newMachine(t)
	handles := m.fill(10)
	deleted := map[string]bool{}
	got := walk(t, m.volumePage(4), func(page []string) {
		next := slices.Index(handles, page[len(page)-1]) + 1
		for _, id := range []string{page[0], page[len(page)-1], handles[next]} { // two that were shown, and the next one
			_, err := m.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: id})
			m.ok("DeleteVolume", err)
			deleted[id] = true
		}
	})
	if !slices.IsSorted(got.all) || len(slices.Compact(slices.Clone(got.all))) != len(got.all) {
		t.Errorf("not in order, or shown twice: %v", got.all)
	}
	for _, id := range handles {
		if !deleted[id] && !slices.Contains(got.all, id) {
			t.Errorf("%s was there all the time and is not shown", id)
		}
	}
}

func TestSnapshotsAreListedByPageVolumeAndHandle(t *testing.T) {
	m := newMachine(t)
	v, w, u := m.create("fast", "v").GetVolumeId(), m.create("slow", "w").GetVolumeId(), m.create("fast", "u").GetVolumeId()
	of := map[string][]string{}
	for i := range 9 {
		for _, source := range []string{v, w, u} {
			of[source] = append(of[source], m.snapshot(fmt.Sprintf("%s-%d", source[strings.LastIndex(source, "/")+1:], i), source).GetSnapshotId())
		}
	}
	of[v] = append(of[v], ids(m.group("g", v))...)
	_, err := m.DeleteVolume(t.Context(), &csi.DeleteVolumeRequest{VolumeId: u}) // its snapshots stay
	m.ok("DeleteVolume", err)
	of[""] = slices.Concat(of[v], of[w], of[u])
	for _, none := range []string{"fake-vol-id", handle("fast", "none"), handle("bare", "b"), handle("gone", "v"), "n2/fast/v"} {
		of[none] = nil
	}
	for source, want := range of {
		slices.Sort(want)
		for limit := range int32(12) {
			if got := walk(t, m.snapshotPage(limit, source), func([]string) {}); !slices.Equal(got.all, want) {
				t.Errorf("of %q, %d at a time: %v, want %v", source, limit, got.pages, want)
			}
		}
	}
	shot := of[v][3]
	for _, c := range []struct {
		id, source string
		want       int
	}{{shot, "", 1}, {shot, v, 1}, {shot, w, 0}, {"none-exist-id", "", 0}, {handle("fast", "none"), "", 0}, {handle("bare", "s"), "", 0}, {handle("fast", "g"), "", 0}} {
		got, err := m.ListSnapshots(t.Context(), &csi.ListSnapshotsRequest{SnapshotId: c.id, SourceVolumeId: c.source})
		if err != nil || len(got.GetEntries()) != c.want || (c.want == 1 && got.GetEntries()[0].GetSnapshot().GetSnapshotId() != c.id) {
			t.Errorf("snapshot %s of %q: %v, %v", c.id, c.source, got, err)
		}
	}
}

// Snapshots of one volume are found also where more than one read of the pool is between them.
func TestSnapshotsOfAVolumeAreFoundAmongManyOthers(t *testing.T) {
	m := newMachine(t)
	const rare, others = 3, 1100
	v, w := m.create("fast", "v").GetVolumeId(), m.make(newVolume("w", func(r *csi.CreateVolumeRequest) {
		r.Parameters, r.CapacityRange = inPool("fast"), exactly(mib)
	})).GetVolumeId()
	var want []string
	for i := range others {
		m.snapshot(fmt.Sprintf("s-%04d", i), w)
		if i%(others/rare) == 100 {
			want = append(want, m.snapshot(fmt.Sprintf("s-%04d-v", i), v).GetSnapshotId())
		}
	}
	for _, limit := range []int32{0, 1, 2, rare, rare + 1} {
		if got := walk(t, m.snapshotPage(limit, v), func([]string) {}); !slices.Equal(got.all, want) {
			t.Errorf("%d at a time: %v, want %v", limit, got.all, want)
		}
	}
}

func TestABadTokenIsAborted(t *testing.T) {
	m := newMachine(t)
	m.fill(3)
	var cases []refusal
	for _, token := range []string{"invalid-token", "1", "/", "n2/fast/v", "n1/fast", "n1/fast/v/w", "../..", "n1/fast/v\x00", strings.Repeat("x", 5000)} {
		cases = append(
			cases,
			refusal{fmt.Sprintf("volumes %.20q", token), volume.Busy, "starting_token", func(m *machine) (any, error) {
				return m.ListVolumes(m.Context(), &csi.ListVolumesRequest{StartingToken: token})
			}},
			refusal{fmt.Sprintf("snapshots %.20q", token), volume.Busy, "starting_token", func(m *machine) (any, error) {
				return m.ListSnapshots(m.Context(), &csi.ListSnapshotsRequest{StartingToken: token})
			}},
			refusal{fmt.Sprintf("one snapshot %.20q", token), volume.Busy, "starting_token", func(m *machine) (any, error) {
				return m.ListSnapshots(m.Context(), &csi.ListSnapshotsRequest{StartingToken: token, SnapshotId: "x"})
			}},
		)
	}
	m.refuse(cases)
}
