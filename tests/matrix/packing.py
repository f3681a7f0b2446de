# SPDX-License-Identifier: BSD-2-Clause
# SPDX-FileCopyrightText: the objmapper authors
"""Encodings by the libraries themselves, whole bodies only: zlib from Python, brotli and zstd through ctypes."""
import ctypes
import zlib

MAX = 16 << 20      # no body of a test is longer


class Broken(Exception):
    """Not a whole body in this encoding, and nothing else."""


def gzip_pack(data):
    z = zlib.compressobj(6, zlib.DEFLATED, 31)
    return z.compress(data) + z.flush()


def gzip_unpack(data):
    z = zlib.decompressobj(31)
    try:
        out = z.decompress(data, MAX)
    except zlib.error as e:
        raise Broken(str(e)) from e
    if not z.eof or z.unused_data:
        raise Broken("truncated" if not z.eof else "followed by something")
    return out


def _library(name, results):
    lib = ctypes.CDLL(name)
    for function, restype, argtypes in results:
        getattr(lib, function).restype = restype
        getattr(lib, function).argtypes = argtypes
    return lib


_P, _S = ctypes.c_void_p, ctypes.c_size_t
_ENC = _library("libbrotlienc.so.1", [("BrotliEncoderCompress", ctypes.c_int, [ctypes.c_int] * 3 + [_S, ctypes.c_char_p, ctypes.POINTER(_S), _P])])
_DEC = _library("libbrotlidec.so.1", [("BrotliDecoderDecompress", ctypes.c_int, [_S, ctypes.c_char_p, ctypes.POINTER(_S), _P])])
_ZSTD = _library("libzstd.so.1", [("ZSTD_compress", _S, [_P, _S, ctypes.c_char_p, _S, ctypes.c_int]), ("ZSTD_isError", ctypes.c_uint, [_S]),
                                  ("ZSTD_decompress", _S, [_P, _S, ctypes.c_char_p, _S]), ("ZSTD_compressBound", _S, [_S])])


def br_pack(data):
    out = ctypes.create_string_buffer(len(data) + 1024)
    size = _S(len(out))
    if not _ENC.BrotliEncoderCompress(5, 22, 0, len(data), data, ctypes.byref(size), out):
        raise Broken("brotli")
    return out.raw[:size.value]


def br_unpack(data):
    out = ctypes.create_string_buffer(MAX)
    size = _S(MAX)
    if _DEC.BrotliDecoderDecompress(len(data), data, ctypes.byref(size), out) != 1:
        raise Broken("brotli")
    return ctypes.string_at(out, size.value)


def zstd_pack(data):
    out = ctypes.create_string_buffer(_ZSTD.ZSTD_compressBound(len(data)))
    size = _ZSTD.ZSTD_compress(out, len(out), data, len(data), 3)
    if _ZSTD.ZSTD_isError(size):
        raise Broken("zstd")
    return out.raw[:size]


def zstd_unpack(data):
    out = ctypes.create_string_buffer(MAX)
    size = _ZSTD.ZSTD_decompress(out, MAX, data, len(data))
    if _ZSTD.ZSTD_isError(size):
        raise Broken("zstd")
    return ctypes.string_at(out, size)


def odd_pack(data):
    """An encoding that nobody knows."""
    return bytes(b ^ 0x55 for b in data)


PACK = {"identity": bytes, "gzip": gzip_pack, "br": br_pack, "zstd": zstd_pack, "x-odd": odd_pack}
UNPACK = {"identity": bytes, "gzip": gzip_unpack, "br": br_unpack, "zstd": zstd_unpack, "x-odd": odd_pack}
