package volume

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
)

// Size is a number of bytes.
type Size int64

// Binary multiples of a byte.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// DefaultSize is the size of a volume for which nobody asked a size. The CSI specification leaves
// the choice to the plugin when no capacity range is given.
const DefaultSize = 1 * GiB

var units = []struct {
	suffix string
	size   Size
}{{"TiB", TiB}, {"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}}

// String prints the size in the largest binary unit that it fills, as in "3.0GiB", and without a
// fraction where there is none to round away.
func (s Size) String() string {
	for _, u := range units {
		if s >= u.size {
			if s%u.size == 0 {
				return fmt.Sprintf("%d%s", s/u.size, u.suffix)
			}
			return fmt.Sprintf("%.1f%s", float64(s)/float64(u.size), u.suffix)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

// RoundUp returns the least multiple of unit that is not below s. It saturates at the largest
// multiple that an int64 holds.
func (s Size) RoundUp(unit Size) Size {
	if s > math.MaxInt64-unit+1 {
		return math.MaxInt64 / unit * unit
	}
	return (s + unit - 1) / unit * unit
}

var sizePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([0-9]{1,19})(?:\.([0-9]{1,3}))?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?(?:i?B)?$`)
})

var suffixes = map[string]Size{
	"": 1, "Ki": KiB, "Mi": MiB, "Gi": GiB, "Ti": TiB, "Pi": TiB << 10,
	"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
}

// ParseSize reads a size as Kubernetes writes quantities ("50Gi", "1.5Gi", "1G", "4096") or as
// Size.String prints it. The kind of its error is Invalid.
func ParseSize(text string) (Size, error) {
	m := sizePattern().FindStringSubmatch(text)
	if m == nil {
		return 0, Errorf(Invalid, "size %.64q is not a number of bytes such as 50Gi, 500Mi or 1073741824", text)
	}
	unit := suffixes[m[3]]
	whole, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || (whole > 0 && Size(whole) > math.MaxInt64/unit-1) {
		return 0, Errorf(Invalid, "size %.64q is larger than any disk", text)
	}
	size := Size(whole) * unit
	if m[2] != "" {
		fraction, _ := strconv.ParseFloat("0."+m[2], 64) // the pattern lets only digits through
		size += Size(fraction * float64(unit))
	}
	return size, nil
}

// Range is the size that a caller will accept: at least RequiredBytes and, where LimitBytes is not
// zero, at most that (CSI CapacityRange).
type Range struct {
	RequiredBytes Size
	LimitBytes    Size
}

// Check says whether the range can be met by any volume at all. The kind of its error is Invalid
// for a negative size and OutOfRange where the limit is below what is required.
func (r Range) Check() error {
	switch {
	case r.RequiredBytes < 0 || r.LimitBytes < 0:
		return Errorf(Invalid, "capacity range %d to %d bytes: a size cannot be negative", r.RequiredBytes, r.LimitBytes)
	case r.LimitBytes != 0 && r.LimitBytes < r.RequiredBytes:
		return Errorf(OutOfRange, "capacity range: the limit of %d bytes is below the %d bytes required", r.LimitBytes, r.RequiredBytes)
	}
	return nil
}

// Holds reports whether a volume of the given size meets the range.
func (r Range) Holds(size Size) bool {
	return size >= r.RequiredBytes && (r.LimitBytes == 0 || size <= r.LimitBytes)
}

// Pick returns the size to make: the least multiple of unit that is at least least and meets the
// range. A range that asks for nothing gets DefaultSize, or the limit where that is lower. The kind
// of its error is OutOfRange, or Invalid for a negative range.
func (r Range) Pick(least, unit Size) (Size, error) {
	if err := r.Check(); err != nil {
		return 0, err
	}
	want := r.RequiredBytes
	if want == 0 {
		want = max(DefaultSize, least)
		if r.LimitBytes != 0 {
			want = min(want, r.LimitBytes/unit*unit)
		}
	}
	size := max(want, least).RoundUp(unit)
	if size <= 0 || !r.Holds(size) {
		return 0, Errorf(OutOfRange, "no size between %d and %d bytes can be made: the least is %d bytes, in multiples of %d",
			r.RequiredBytes, r.LimitBytes, max(least, unit), unit)
	}
	return size, nil
}
