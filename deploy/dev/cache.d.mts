// The types of cache.mjs, which must stay plain JavaScript.
export function cacheDir(): string
export function exclusively<T>(name: string, work: () => Promise<T>, waiting?: () => void): Promise<T>
