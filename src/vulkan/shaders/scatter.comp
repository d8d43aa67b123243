#version 460
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_shader_8bit_storage : require

// Moves pieces of staging memory to their places, by address. 16 invocations share a piece: each takes every sixteenth
// block of 16 bytes, aligned at the destination. A block that the piece covers is stored at once; of the others, at its
// two ends, only bytes of the piece are stored. Nothing outside a piece is loaded or stored.

layout(local_size_x = 64) in;

layout(buffer_reference, std430, buffer_reference_align = 1) buffer Bytes { uint8_t at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Blocks { uvec4 at[]; };

// `Piece` of src/vulkan/scatter.rs.
struct Piece {
    uvec2 to;
    uvec2 from;
    uint size;
    uint unused;
};
layout(buffer_reference, std430, buffer_reference_align = 8) readonly buffer Table { Piece at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Offsets { uint at[]; };

// `Push` of src/vulkan/scatter.rs.
layout(push_constant) uniform Push {
    uvec2 table;
    uint pieces;
    // Of each piece, if they are alike: the table is of what to add to `to` then, and each comes from `stride` bytes after the
    // one before. 0 if they are not.
    uint size;
    uvec2 to;
    uvec2 from;
    uint stride;
} push;

uvec2 plus(uvec2 address, uint bytes) {
    uint carry;
    uint low = uaddCarry(address.x, bytes, carry);
    return uvec2(low, address.y + carry);
}

Piece piece(uint number) {
    if (push.size == 0u) {
        return Table(push.table).at[number];
    }
    uint offset = Offsets(push.table).at[number];
    return Piece(plus(push.to, offset), plus(push.from, number * push.stride), push.size, 0u);
}

// Addresses rounded down.
uvec2 word(uvec2 address) { return uvec2(address.x & ~3u, address.y); }
uvec2 block(uvec2 address) { return uvec2(address.x & ~15u, address.y); }

// The 16 bytes of the piece from `first` on.
uvec4 load(Piece piece, uint first) {
    uint within = (piece.from.x & 15u) + first;
    if ((within & 15u) == 0u) {
        return Blocks(block(piece.from)).at[within >> 4];
    }
    within = (piece.from.x & 3u) + first;
    uint i = within >> 2;
    if ((within & 3u) == 0u) {
        Words words = Words(word(piece.from));
        return uvec4(words.at[i], words.at[i + 1u], words.at[i + 2u], words.at[i + 3u]);
    }
    // Five words hold them, if the piece holds all of those.
    if (within - (within & 3u) >= (piece.from.x & 3u) && first + 20u - (within & 3u) <= piece.size) {
        Words words = Words(word(piece.from));
        uint down = (within & 3u) * 8u;
        uint up = 32u - down;
        uint a = words.at[i], b = words.at[i + 1u], c = words.at[i + 2u], d = words.at[i + 3u], e = words.at[i + 4u];
        return uvec4(a >> down | b << up, b >> down | c << up, c >> down | d << up, d >> down | e << up);
    }
    Bytes bytes = Bytes(piece.from);
    uvec4 value;
    for (uint w = 0u; w < 4u; w++) {
        uint b = first + w * 4u;
        value[w] = uint(bytes.at[b]) | uint(bytes.at[b + 1u]) << 8 | uint(bytes.at[b + 2u]) << 16
            | uint(bytes.at[b + 3u]) << 24;
    }
    return value;
}

// Moves the bytes `first..end` of the piece, fewer than 16: by words where both sides are aligned, else one by one.
void move_some(Piece piece, uint first, uint end) {
    bool alike = ((piece.from.x ^ piece.to.x) & 3u) == 0u;
    uint ahead = piece.to.x & 3u;
    while (first < end) {
        if (alike && ((ahead + first) & 3u) == 0u && first + 4u <= end) {
            uint i = (ahead + first) >> 2;
            Words(word(piece.to)).at[i] = Words(word(piece.from)).at[i];
            first += 4u;
        } else {
            Bytes(piece.to).at[first] = Bytes(piece.from).at[first];
            first += 1u;
        }
    }
}

void main() {
    uint number = gl_GlobalInvocationID.x >> 4;
    if (number >= push.pieces) {
        return;
    }
    Piece piece = piece(number);
    uint ahead = piece.to.x & 15u;
    uint last = ahead + piece.size;
    for (uint at = (gl_LocalInvocationIndex & 15u) * 16u; at < last; at += 256u) {
        uint first = max(at, ahead) - ahead;
        uint end = min(at + 16u, last) - ahead;
        if (end - first == 16u) {
            Blocks(block(piece.to)).at[at >> 4] = load(piece, first);
        } else {
            move_some(piece, first, end);
        }
    }
}
