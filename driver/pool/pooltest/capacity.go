package pooltest

import (
	"fmt"
	"sync"

	"github.com/loam-storage/loam/driver/volume"
)

var capacityTests = []test{
	{name: "an empty pool is healthy and has room", run: func(e *env) {
		s := e.status()
		if s.Pool != e.p.Name() || !s.Healthy || s.FreeBytes < Room || s.TotalBytes < s.FreeBytes || s.LargestBytes > s.FreeBytes || s.LeastBytes <= 0 {
			e.Errorf("Status answered %+v", s)
		}
	}},
	{name: "the largest volume can be made, and then nothing more", run: func(e *env) {
		s := e.status()
		v := e.make(e.spec("a", s.LargestBytes))
		if v.Size != s.LargestBytes {
			e.Errorf("the largest volume has %d bytes, Status said %d", v.Size, s.LargestBytes)
		}
		_, err := e.p.Create(e.Context(), e.spec("b", size))
		e.is("Create in a full pool", err, volume.Full)
		if got := e.names(); len(got) != 1 {
			e.Errorf("List answered %v", got)
		}
	}},
	{name: "more than the largest is Full and leaves nothing", run: func(e *env) {
		before := e.status()
		_, err := e.p.Create(e.Context(), e.spec("a", before.LargestBytes+e.o.Slack+1))
		e.is("Create", err, volume.Full)
		e.free(before.FreeBytes)
		if len(e.names()) != 0 {
			e.Errorf("volumes %v are left", e.names())
		}
	}},
	{name: "an absurd size is Full or OutOfRange", run: func(e *env) {
		_, err := e.p.Create(e.Context(), e.spec("a", 1<<62))
		if kind := volume.KindOf(err); err == nil || (kind != volume.Full && kind != volume.OutOfRange) {
			e.Errorf("Create: %v", err)
		}
	}},
	{name: "volumes made at the same time never get more than there is", run: func(e *env) {
		share := e.status().LargestBytes / 4
		var wait sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			wait.Go(func() {
				_, errs[i] = e.p.Create(e.Context(), e.spec(fmt.Sprintf("v%d", i), share))
			})
		}
		wait.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else {
				e.is("Create", err, volume.Full)
			}
		}
		if made < 2 || made > 4 || len(e.names()) != made {
			e.Errorf("%d of 8 quarters were made, %v are listed", made, e.names())
		}
	}},
	{name: "different volumes live and die at the same time", run: func(e *env) {
		free := e.status().FreeBytes
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() { e.live(fmt.Sprintf("v%d", i)) })
		}
		wait.Wait()
		e.free(free)
		if len(e.names()) != 0 {
			e.Errorf("volumes %v are left", e.names())
		}
	}},
}

// live takes one volume through its life. It may run beside others, so it fails with Error only.
func (e *env) live(name string) {
	id := e.id(name)
	for range e.often(3, 1) {
		if _, err := e.p.Create(e.Context(), e.spec(name, size/2)); err != nil {
			e.Errorf("Create(%s): %v", name, err)
		}
		if _, err := e.p.Attach(e.Context(), id, false); err != nil {
			e.Errorf("Attach(%s): %v", name, err)
		}
		if v, err := e.p.Expand(e.Context(), id, atLeast(size)); err != nil || v.Size < size {
			e.Errorf("Expand(%s): %v %v", name, v, err)
		}
		if err := e.p.Detach(e.Context(), id); err != nil {
			e.Errorf("Detach(%s): %v", name, err)
		}
		if err := e.p.Delete(e.Context(), id); err != nil {
			e.Errorf("Delete(%s): %v", name, err)
		}
	}
}

var reopenTests = []test{
	{name: "everything is found again", reopens: true, run: func(e *env) {
		spec := e.spec("a", size)
		spec.FSType, spec.Claim = volume.Ext4, volume.Claim{Name: "orders"}
		spec.Parameters.AllowBlockAsFilesystem = true
		made := e.make(spec)
		e.write("a", "kept", 0)
		e.ok("Mark", e.p.Mark(e.Context(), made.ID, volume.Formatting))
		free := e.status().FreeBytes
		e.p = e.o.Reopen(e.T, e.p)
		got := e.get("a")
		if got.Size != made.Size || got.FSType != made.FSType || got.Claim != made.Claim || got.Parameters != spec.Parameters || !got.Created.Equal(made.Created) || got.Mark != volume.Formatting {
			e.Errorf("Get answered %+v, Create %+v", got, made)
		}
		e.free(free)
		e.holds("a", "kept", 0)
	}},
	{name: "what is attached stays attached", reopens: true, run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		e.writeDevice(device, "before", 0)
		e.p = e.o.Reopen(e.T, e.p)
		if got := e.get("a").Device; got != device {
			e.Errorf("the device was %s and is %s", device, got)
		}
		e.writeDevice(device, "after.", 0)
		e.detach("a")
		e.holds("a", "after.", 0)
	}},
	{name: "snapshots are found again", snapshots: true, reopens: true, run: func(e *env) {
		e.create("a")
		e.create("b")
		e.snapshot("s", "a")
		e.group("g", "a", "b")
		before := e.snapshotNames()
		e.p = e.o.Reopen(e.T, e.p)
		e.s = e.snapshotter()
		if after := e.snapshotNames(); len(before) != 3 || fmt.Sprint(after) != fmt.Sprint(before) {
			e.Errorf("the snapshots were %v and are %v", before, after)
		}
	}},
}
