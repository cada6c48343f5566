package volume_test

import (
	"math"
	"strings"
	"testing"

	"github.com/loam-storage/loam/driver/volume"
)

func TestSizesAreReadAndPrinted(t *testing.T) {
	for text, want := range map[string]volume.Size{
		"0": 0, "1": 1, "4096": 4096, "1Ki": 1024, "1k": 1000, "50Gi": 50 << 30, "50GiB": 50 << 30, "1.5Gi": 3 << 29, "2Ti": 2 << 40, "1P": 1e15, "512B": 512,
	} {
		if got, err := volume.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "10%", "1 Gi", "Gi", "1e3", "0x10", "1.5.5Gi", "9223372036854775807Gi", "99999999999999999999", "1g", "١"} {
		if got, err := volume.ParseSize(text); !volume.Is(err, volume.Invalid) {
			t.Errorf("ParseSize(%q) = %d, %v; want Invalid", text, got, err)
		}
	}
	if _, err := volume.ParseSize(strings.Repeat("9", 5000)); err == nil || len(err.Error()) > 256 {
		t.Errorf("the error for a size of 5000 digits: %v", err)
	}
	for size, want := range map[volume.Size]string{0: "0B", 1023: "1023B", 1024: "1KiB", 1536: "1.5KiB", 3 << 30: "3GiB", 1<<40 + 1<<39: "1.5TiB"} {
		if got := size.String(); got != want {
			t.Errorf("%d prints as %q, want %q", int64(size), got, want)
		}
	}
}

func TestPickChoosesTheLeastSizeThatFits(t *testing.T) {
	const unit, least = 4096, 1 << 20
	for _, c := range []struct {
		required, limit, want volume.Size
		kind                  volume.Kind
	}{
		{0, 0, volume.DefaultSize, 0},
		{0, 1 << 21, 1 << 21, 0},
		{0, 1<<21 + 1, 1 << 21, 0},
		{1, 0, least, 0},
		{1 << 20, 1 << 20, 1 << 20, 0},
		{1<<20 + 1, 0, 1<<20 + unit, 0},
		{1<<20 + 1, 1<<20 + unit, 1<<20 + unit, 0},
		{1<<20 + 1, 1<<20 + unit - 1, 0, volume.OutOfRange},
		{1, 4096, 0, volume.OutOfRange},
		{2, 1, 0, volume.OutOfRange},
		{-1, 0, 0, volume.Invalid},
		{0, -1, 0, volume.Invalid},
		{0, 1, 0, volume.OutOfRange},
		{math.MaxInt64, 0, 0, volume.OutOfRange},
		{math.MaxInt64 - 4095, 0, math.MaxInt64 - 4095, 0},
	} {
		got, err := volume.Range{RequiredBytes: c.required, LimitBytes: c.limit}.Pick(least, unit)
		if got != c.want || (c.kind == 0) != (err == nil) || (err != nil && volume.KindOf(err) != c.kind) {
			t.Errorf("Pick(%d..%d) = %d, %v; want %d, %s", c.required, c.limit, got, err, c.want, c.kind)
		}
	}
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"50Gi", "10%", "1.5Gi", "9999999999999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := volume.ParseSize(text)
		if err != nil && !volume.Is(err, volume.Invalid) {
			t.Fatalf("ParseSize(%q): kind %s", text, volume.KindOf(err))
		}
		if size < 0 {
			t.Fatalf("ParseSize(%q) = %d", text, size)
		}
	})
}

func FuzzPick(f *testing.F) {
	f.Add(int64(1), int64(0), int64(4096), int64(4096), int64(0))
	f.Fuzz(func(t *testing.T, required, limit, least, unit, source int64) {
		if unit <= 0 || least < 0 || source < 0 {
			return
		}
		spec := volume.Spec{Size: volume.Range{RequiredBytes: volume.Size(required), LimitBytes: volume.Size(limit)}, Source: &volume.Source{}}
		size, err := spec.PickSize(volume.Size(source), volume.Size(least), volume.Size(unit))
		if err != nil {
			return
		}
		if size <= 0 || int64(size)%unit != 0 || !spec.Size.Holds(size) || int64(size) < least || int64(size) < source {
			t.Fatalf("PickSize(%d..%d, least %d, unit %d, source %d) = %d", required, limit, least, unit, source, size)
		}
	})
}
