package pooltest

import (
	"os"
	"strings"

	"github.com/loam-storage/loam/driver/volume"
)

var removeTests = []test{
	{name: "a deleted volume is gone and its space is back", run: func(e *env) {
		before := e.status().FreeBytes
		e.create("a")
		if during := e.status().FreeBytes; during > before-size+e.o.Slack {
			e.Errorf("%d bytes are free beside a volume of %d, %d were before", during, size, before)
		}
		e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
		_, err := e.p.Get(e.Context(), e.id("a"))
		e.is("Get", err, volume.NotFound)
		e.free(before)
		e.ok("Delete again", e.p.Delete(e.Context(), e.id("a")))
	}},
	{name: "a volume whose device is open is InUse and stays whole", run: func(e *env) {
		e.create("a")
		device := e.attach("a")
		e.writeDevice(device, "kept", 0)
		f, err := os.Open(device)
		e.ok("open the device", err)
		e.is("Delete", e.p.Delete(e.Context(), e.id("a")), volume.InUse)
		e.ok("close", f.Close())
		e.detach("a")
		e.holds("a", "kept", 0)
		e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
	}},
	{name: "the next volume does not read what the last one wrote", run: func(e *env) {
		for range 3 {
			e.create("a")
			e.holds("a", "", 0)
			e.write("a", strings.Repeat("secret", 300_000), 4096)
			e.ok("Delete", e.p.Delete(e.Context(), e.id("a")))
		}
	}},
}
