package controller_test

import (
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/loam-storage/loam/driver/volume"
)

// Values that requests are made of. Mostly a field gets one of those that make sense in it.
var (
	volumes   = []string{handle("fast", "a"), handle("fast", "b"), handle("slow", "c"), handle("fast", "d")}
	snapshots = []string{handle("fast", "s"), handle("fast", "a"), handle("fast", volume.MemberName("g", "a")), handle("fast", volume.MemberName("g", "b"))}
	groups    = []string{handle("fast", "g"), handle("fast", "a")}
	sensible  = map[protoreflect.Name][]string{
		"name": {"a", "b", "d", "s", "g"}, "volume_id": volumes, "source_volume_id": volumes, "source_volume_ids": volumes,
		"snapshot_id": snapshots, "snapshot_ids": snapshots, "group_snapshot_id": groups, "node_id": {node}, "fs_type": {"", "ext4", "xfs"},
		"mount_flags": {"noatime"}, "starting_token": {"", handle("fast", "a")}, "volume_mount_group": {""},
	}
	absurd = []string{
		"", node, "n2", "n2/fast/a", "../..", "a/b\x00", "\x1b[2J", "ein Gerät", "bind", strings.Repeat("x", 129), strings.Repeat("y", 4097),
	}
	maps    = [][2]string{{"pool", "fast"}, {"pool", "slow"}, {"mkfsOptions", "-m 1"}, {volume.TopologyKey, node}, {volume.TopologyKey, "n2"}, {"x\x00", "y"}}
	numbers = []int64{8 * mib, mib, 0, 16 * mib, 300 * mib, gib, 1, 4097, 64 * gib, -1, 1<<63 - 1, -1 << 63}
)

// script turns bytes into choices; at its end every choice is the first one.
type script []byte

func (s *script) choose(n int) int {
	if len(*s) == 0 {
		return 0
	}
	b := (*s)[0]
	*s = (*s)[1:]
	return int(b) % n
}

func (s *script) take(n int) []byte {
	n = min(n, len(*s))
	taken := (*s)[:n]
	*s = (*s)[n:]
	return taken
}

// write fills a message field by field.
func (s *script) write(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if one := f.ContainingOneof(); one != nil && (m.WhichOneof(one) != nil || s.choose(2) == 0) && f.Index() < fields.Len()-1 {
			continue
		}
		if f.Name() == "secrets" || (f.Message() != nil && depth == 0) || s.choose(8) == 7 {
			continue
		}
		switch {
		case f.IsMap():
			for range max(0, s.choose(10)-7) {
				pair := maps[s.choose(len(maps))]
				m.Mutable(f).Map().Set(protoreflect.ValueOfString(pair[0]).MapKey(), protoreflect.ValueOfString(pair[1]))
			}
		case f.IsList():
			for range s.choose(4) {
				list := m.Mutable(f).List()
				if f.Message() != nil {
					s.write(list.AppendMutable().Message(), depth-1)
				} else {
					list.Append(s.value(f))
				}
			}
		case (f.Name() == "volume_content_source" || f.Name() == "limit_bytes") && s.choose(4) > 0:
		case f.Message() != nil:
			s.write(m.Mutable(f).Message(), depth-1)
		default:
			m.Set(f, s.value(f))
		}
	}
}

func (s *script) value(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		from := absurd
		if good := sensible[f.Name()]; len(good) > 0 && s.choose(8) < 7 {
			from = good
		}
		return protoreflect.ValueOfString(from[s.choose(len(from))])
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(s.choose(4) == 3)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum([]protoreflect.EnumNumber{1, 2, 6, 7, 1, 1, 0, 5, 99}[s.choose(9)])
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(s.choose(6) - 1))
	default:
		return protoreflect.ValueOfInt64(numbers[s.choose(len(numbers))])
	}
}

func (s *script) request(r rpc) proto.Message {
	req := r.request()
	if s.choose(8) != 1 {
		s.write(req.ProtoReflect(), 5)
	} else if proto.Unmarshal(s.take(s.choose(256)), req) != nil {
		return nil // gRPC refuses it before any handler sees it
	}
	if f := req.ProtoReflect().Descriptor().Fields().ByName("secrets"); f != nil {
		req.ProtoReflect().Mutable(f).Map().Set(protoreflect.ValueOfString(secret).MapKey(), protoreflect.ValueOfString(secret))
	}
	return req
}
