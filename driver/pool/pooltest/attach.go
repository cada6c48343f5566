package pooltest

import (
	"fmt"
	"os"

	"github.com/loam-storage/loam/driver/volume"
)

var attachTests = []test{
	{name: "the device is as large as the volume and keeps what is written", run: func(e *env) {
		e.create("a")
		e.write("a", "hello", size-4096)
		e.holds("a", "hello", size-4096)
	}},
	{name: "attached again it is the same device, and Get and List name it", run: func(e *env) {
		e.create("a")
		e.create("b")
		device := e.attach("a")
		defer e.detach("a")
		if again := e.attach("a"); again != device {
			e.Errorf("Attach answered %s, then %s", device, again)
		}
		volumes, err := e.p.List(e.Context(), "", 0)
		e.ok("List", err)
		if v := e.get("a"); v.Device != device || v.ReadOnly || volumes[0].Device != device || volumes[1].Attached() {
			e.Errorf("Get answered %+v, List %+v", v, volumes)
		}
	}},
	{name: "attached otherwise is Exists", run: func(e *env) {
		e.create("a")
		e.attach("a")
		defer e.detach("a")
		_, err := e.p.Attach(e.Context(), e.id("a"), true)
		e.is("Attach read-only", err, volume.Exists)
	}},
	{name: "a read-only device refuses writes, and the next one does not", run: func(e *env) {
		e.create("a")
		e.write("a", "kept", 0)
		device, err := e.p.Attach(e.Context(), e.id("a"), true)
		e.ok("Attach", err)
		if v := e.get("a"); !v.ReadOnly {
			e.Errorf("Get answered %+v", v)
		}
		if isBlockDevice(device) {
			f, err := os.OpenFile(device, os.O_RDWR, 0)
			if err == nil {
				_, err = f.WriteAt([]byte("lost"), 0)
				if err == nil {
					err = f.Sync()
				}
				_ = f.Close()
			}
			if err == nil {
				e.Errorf("%s took a write", device)
			}
		}
		e.detach("a")
		e.holds("a", "kept", 0)
		e.write("a", "more", 0)
		e.holds("a", "more", 0)
	}},
	{name: "detached it is gone, and again is nil", run: func(e *env) {
		e.create("a")
		e.attach("a")
		e.detach("a")
		if v := e.get("a"); v.Attached() {
			e.Errorf("Get answered %+v", v)
		}
		e.detach("a")
		e.detach("nobody")
	}},
	{name: "a device that is held is InUse", run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		if !isBlockDevice(device) {
			e.detach("a")
			e.Skip("the device of this pool is a file, which the kernel does not guard")
		}
		f, err := os.OpenFile(device, os.O_RDWR|os.O_EXCL, 0)
		e.ok("open the device", err)
		e.is("Detach", e.p.Detach(e.Context(), e.id("a")), volume.InUse)
		e.ok("close", f.Close())
		if got := e.attach("a"); got == "" {
			e.Error("Attach answered no device")
		}
		e.detach("a")
	}},
	{name: "many volumes are attached at once, each with its own bytes", run: func(e *env) {
		n := e.often(12, 4)
		devices := map[string]bool{}
		for i := range n {
			name := fmt.Sprintf("v%d", i)
			e.make(e.spec(name, 1*volume.MiB))
			device := e.attach(name)
			devices[device] = true
			e.writeDevice(device, name, 0)
		}
		if len(devices) != n {
			e.Errorf("%d volumes have %d devices", n, len(devices))
		}
		for i := range n {
			name := fmt.Sprintf("v%d", i)
			e.detach(name)
			e.holds(name, name, 0)
		}
	}},
}
